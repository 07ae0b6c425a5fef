"""Locks between processes, and the scratch store that several projects share."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import cache
from pipeline.ground import files, locks
from pipeline.ground.code import ROOT
from pipeline.ground.errors import PipelineError
from tests.patience import PATIENCE_S

HOLDER = """
import sys
from pipeline.ground import locks
folder = locks.scratch("key")
(folder / "mine").touch()
print("held", flush=True)
sys.stdin.read()
(folder / "mine").unlink()
folder.rmdir()
"""


@pytest.fixture
def holder(project: Path) -> "subprocess.Popen[str]":
    """A process that has the folder of a key, until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("killed", [False, True])
def test_a_scratch_folder_is_had_after_its_holder(
    holder: "subprocess.Popen[str]", killed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def end(line: str) -> None:
        assert line.endswith(f": process {holder.pid} works there, waiting for it to end")
        holder.kill() if killed else holder.communicate("")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locks, "say", end)
        folder = locks.scratch("key")
    assert holder.wait(PATIENCE_S) == (-signal.SIGKILL if killed else 0)
    assert folder.is_dir()
    assert (folder / "mine").exists() == killed
    assert locks.scratch("key") == folder
    assert not capsys.readouterr().err


def test_what_another_process_holds_is_known(holder: "subprocess.Popen[str]") -> None:
    lock = locks.scratch_lock(locks.scratch_root() / files.digest("key"))
    with pytest.raises(PipelineError, match=f"^x: process {holder.pid} runs it already"):
        locks.locked(lock, "x").__enter__()
    with locks.locked(lock.with_name("other"), "x"):
        pass
    holder.communicate("")
    with locks.locked(lock, "x"):
        pass


def refused(lock: Path) -> bool:
    """Whether another process is refused what this one may hold."""
    asked = (
        "from pathlib import Path; from pipeline.ground.locks import locked; "
        f"locked(Path({str(lock)!r}), 'x').__enter__()"
    )
    done = subprocess.run(
        [sys.executable, "-c", asked],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    held = f"x: process {os.getpid()} runs it already" in done.stderr
    assert held == (done.returncode != 0), done.stderr
    return held


def test_gc_takes_each_folder_before_it_deletes_it(
    holder: "subprocess.Popen[str]",
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Or a run that comes to it meanwhile would lose its work."""
    used, idle = (locks.scratch_root() / files.digest(key) for key in ("key", "other"))
    idle.mkdir()
    seen, rmtree = [], shutil.rmtree

    def watched(folder: Path) -> None:
        seen.append((folder, refused(locks.scratch_lock(folder))))
        rmtree(folder)

    monkeypatch.setattr(shutil, "rmtree", watched)
    cache.main("gc")
    assert seen == [(idle, True)]
    assert (used / "mine").exists() and not idle.exists()
    assert capsys.readouterr().out.endswith("0.0 MB deleted, 1 in use kept\n")
    assert not refused(locks.scratch_lock(idle))
    holder.communicate("")


def test_other_processes_of_one_run_do_not_wait(
    holder: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert (locks.scratch("key") / "mine").exists()
    holder.communicate("")


def test_a_folder_that_was_released_is_free_while_its_process_lives(project: Path) -> None:
    folder = locks.scratch("key")
    assert refused(locks.scratch_lock(folder))
    locks.release(folder)
    assert not refused(locks.scratch_lock(folder))
