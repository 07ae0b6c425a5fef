"""No space, no permission, signals, two runs at once: one line, its status, old outputs intact."""

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.ground.code import ROOT
from tests.faults import chain
from tests.faults.chain import STEPS, Step
from tests.faults.test_kills import WRITING, Prepare, at_write
from tests.patience import PATIENCE_S

each_stage = pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
some_stages = pytest.mark.parametrize(
    "command", ["preprocess", "extract --fold", "finetune --task emotion --start pre", "evaluate"]
)
FULL = "File too large, old outputs are untouched: free some space and run it again"


def largest_file(size: int) -> Prepare:
    """A disk that is full: no file may grow beyond ``size`` bytes."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def powerless() -> None:
    """Give up all capabilities, so that permissions bind the superuser too."""
    version_3_of_this_process = (0x20080522).to_bytes(4, "little") + bytes(4)
    ctypes.CDLL(None).capset(version_3_of_this_process, bytes(24))


@each_stage
def test_a_full_disk_is_one_line(copied: Path, step: Step) -> None:
    expected = chain.contents(copied, step)
    largest = max(map(len, expected.values()))
    if largest < 200 or step.command == "plan":  # which says what all will take
        pytest.skip("it writes no more than the line that it says")
    # Every checkpoint and every shard is to be written again.
    (copied / ".scratch").rename(copied / "finished")
    status, told = chain.run(copied, step, largest_file(max(200, largest // 2)))
    assert status == 1, told
    assert "Traceback" not in told
    assert "free some space and run it again" in told.splitlines()[-1]
    assert chain.contents(copied, step) == expected
    assert chain.leftovers(copied) == []


def test_a_failed_write_of_hdf5_does_not_crash_the_process(copied: Path) -> None:
    """As a command, since HDF5 crashes where it is unloaded at the end of a process."""
    (copied / ".scratch").rename(copied / "finished")
    done = subprocess.run(
        [sys.executable, "-m", "stages.extract", "--encoder", "fbank", "--corpus", "demo"],
        cwd=copied,
        env=os.environ | {"PYTHONPATH": str(ROOT), "SER_SCRATCH": ".scratch"},
        preexec_fn=largest_file(5_000),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (1, f"extract: {done.stderr.split()[1]} {FULL}\n")


@pytest.mark.parametrize("command", ["preprocess", "split", "cluster", "retrain", "networks"])
def test_a_folder_without_write_permission_is_one_line(copied: Path, command: str) -> None:
    step = chain.step_of(command)
    expected = chain.contents(copied, step)
    (copied / "artifacts/.staging").chmod(0o555)
    status, told = chain.run(copied, step, powerless)
    assert status == 1
    assert told.splitlines()[-1].endswith(
        "Permission denied, old outputs are untouched: mend its permissions and run it again"
    )
    assert "artifacts/.staging/" in told.splitlines()[-1]
    assert chain.contents(copied, step) == expected


def test_an_input_without_read_permission_is_named(copied: Path) -> None:
    (copied / "data/raw/demo/wav/3.wav").chmod(0)
    status, told = chain.run(copied, chain.step_of("preprocess"), powerless)
    assert status == 1
    assert told.startswith("preprocess: data/raw/demo/wav/3.wav: Permission denied, old outputs")


def test_a_read_only_corpus_gives_the_same_bytes(copied: Path) -> None:
    step = chain.step_of("preprocess")
    expected = chain.contents(copied, step)
    for path in (copied / "data").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    chain.remove(copied, step)
    (copied / ".scratch").rename(copied / "finished")
    status, told = chain.run(copied, step, powerless)
    assert status == 0, told
    assert chain.contents(copied, step) == expected


def signalled(number: signal.Signals) -> Prepare:
    """Send a signal to the stage itself before its fifth change of the file system."""

    def prepare() -> None:
        os_kill = os.kill
        os.kill = lambda process, _: os_kill(process, number)
        at_write(5)()

    return prepare


@each_stage
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_one_line_and_its_status(
    copied: Path, step: Step, number: signal.Signals, status: int
) -> None:
    expected = chain.contents(copied, step)
    ended, told = chain.run(copied, step, signalled(number))
    assert ended == status, told
    assert "Traceback" not in told
    assert told.splitlines()[-1].endswith("run it again to resume")
    assert chain.contents(copied, step) == expected
    assert chain.leftovers(copied) == []


def deleting(folder: Path) -> Prepare:
    """Delete the staging folder before the first file is written or renamed there."""

    def prepare() -> None:
        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            writes = event == "open" and (arguments[2] or 0) & WRITING
            if (writes or event == "os.rename") and "/.staging/" in f"/{arguments[0]}":
                shutil.rmtree(folder, ignore_errors=True)

        sys.addaudithook(hook)

    return prepare


@each_stage
def test_a_staging_folder_that_is_deleted_meanwhile_is_one_line(copied: Path, step: Step) -> None:
    expected = chain.contents(copied, step)
    status, told = chain.run(copied, step, deleting(copied / "artifacts/.staging"))
    assert status == 1, told
    assert "Traceback" not in told
    assert told.endswith(
        "~: deleted while it was written, old outputs are untouched: run it again\n"
    )
    assert chain.contents(copied, step) == expected


@some_stages
def test_a_second_run_beside_the_first_is_refused(copied: Path, command: str) -> None:
    step = chain.step_of(command)
    expected = chain.contents(copied, step)
    chain.remove(copied, step)
    first = chain.start(copied, step, signalled(signal.SIGSTOP))
    os.waitpid(first, os.WUNTRACED)
    status, told = chain.run(copied, step)
    assert status == 1
    assert told.endswith(f": process {first} runs it already, wait for it or stop it\n")
    assert chain.run(copied, chain.step_of("encoder"))[0] == 0
    os.kill(first, signal.SIGCONT)
    assert chain.wait(copied, first)[0] == 0
    assert chain.contents(copied, step) == expected


def test_a_killed_run_locks_no_one_out(copied: Path) -> None:
    step = chain.step_of("cluster")
    first = chain.start(copied, step, signalled(signal.SIGSTOP))
    os.waitpid(first, os.WUNTRACED)
    os.kill(first, signal.SIGKILL)
    chain.wait(copied, first)
    assert chain.run(copied, step)[0] == 0
