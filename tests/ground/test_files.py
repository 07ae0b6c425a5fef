"""Atomic outputs: whole or not at all."""

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest

from pipeline.audio.flac import read_clip
from pipeline.embeddings.hdf5 import ClipFile
from pipeline.ground import files, locks, provenance
from pipeline.ground.errors import PipelineError, remedy
from tests.patience import PATIENCE_S

KILLED_WHILE_WRITING = """
import os, signal
from pathlib import Path
from pipeline.audio.flac import read_clip
from pipeline.embeddings.hdf5 import ClipFile
from pipeline.ground import files, provenance
with files.publish(Path("artifacts/x/out")) as staged:
    staged.mkdir()
    (staged / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_publish_replaces_a_folder_whole(project: Path) -> None:
    target = Path("artifacts/x/out")
    for text in ("old", "new"):
        with files.publish(target) as staged:
            staged.mkdir()
            (staged / text).write_text(text)
    assert sorted(p.name for p in target.iterdir()) == [files.SUMS, "new"]
    assert not any(files.STAGING.iterdir())


def test_what_lies_outside_the_project_is_staged_beside_itself(tmp_path: Path) -> None:
    target = tmp_path / "x" / "value.json"
    with files.publish(target) as staged:
        assert staged.parent.parent == target.parent
        staged.write_text("1")
    assert list(target.parent.iterdir()) == [target]


def test_a_failure_leaves_the_old_output(project: Path) -> None:
    target = Path("artifacts/value.json")
    files.write_json(target, {"a": 1})
    with pytest.raises(ValueError, match="Out of range"):
        files.write_json(target, {"a": float("nan")})
    with pytest.raises(RuntimeError), files.publish(target) as staged:
        staged.write_text("half")
        raise RuntimeError
    assert files.read_json(target) == {"a": 1}
    assert not any(files.STAGING.iterdir())


def test_an_interrupt_between_the_two_renames_puts_the_old_folder_back(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, rename = Path("artifacts/x/out"), Path.rename
    with files.publish(target) as staged:
        staged.mkdir()

    def interrupted(path: Path, goal: Path) -> Path:
        if goal == target and not path.name.endswith("~old"):
            raise KeyboardInterrupt
        return rename(path, goal)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), files.publish(target) as staged:
        staged.mkdir()
        (staged / "new").touch()
    assert [path.name for path in target.iterdir()] == [files.SUMS]
    assert not any(files.STAGING.iterdir())


def test_a_kill_leaves_no_output_and_the_next_run_succeeds(project: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_WRITING],
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert not Path("artifacts/x").exists()
    with files.publish(Path("artifacts/x/out")) as staged:
        staged.mkdir()
        (staged / "whole").write_text("whole")
    assert sorted(p.name for p in Path("artifacts/x/out").iterdir()) == [files.SUMS, "whole"]


@pytest.mark.parametrize("lost", ["artifacts/.staging", "artifacts/.staging/artifacts+x+out~"])
@pytest.mark.parametrize("again", [True, False])
def test_what_was_staged_in_a_folder_that_was_deleted_is_refused(
    project: Path, lost: str, again: bool
) -> None:
    """Its writers may have made it again, with what they wrote since alone."""
    target = Path("artifacts/x/out")
    with files.publish(target) as staged:
        staged.mkdir()
        (staged / "old").touch()
    refused = pytest.raises(PipelineError, match=r"~: deleted while it was written.*run it again")
    with refused, files.publish(target) as staged:
        staged.mkdir()
        shutil.rmtree(lost)
        (staged / "new").mkdir(parents=again)
    assert [path.name for path in target.iterdir()] == [files.SUMS, "old"]
    assert not files.STAGING.exists() or not any(files.STAGING.iterdir())


@pytest.mark.parametrize("lost", ["artifacts/.staging", "artifacts/.staging/artifacts+x.h5~"])
def test_a_staged_file_that_was_deleted_is_refused(project: Path, lost: str) -> None:
    refused = pytest.raises(PipelineError, match=r"x\.h5~: deleted while it was written")
    with refused, files.publish(Path("artifacts/x.h5")) as staged, staged.open("w") as file:
        shutil.rmtree(lost)
        file.write("x")
    assert not Path("artifacts/x.h5").exists()


def test_a_kill_between_the_two_renames_loses_nothing(project: Path) -> None:
    target = Path("artifacts/x/out")
    with files.publish(target) as staged:
        staged.mkdir()
        (staged / "old").touch()
        work = staged.parent
    work.mkdir()
    target.rename(work / "out~old")
    with pytest.raises(RuntimeError), files.publish(target):
        raise RuntimeError
    assert (target / "old").exists()


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.parametrize("place", ["x.flac", "x.h5", "x.json", "x.csv", "x", "sum", "sums"])
def test_what_is_no_file_is_refused_and_never_waited_for(
    project: Path, kind: str, place: str
) -> None:
    path = Path(place if place.startswith("x") else "x")
    path.write_bytes(b"")
    odd = {"sum": files.sum_of(path), "sums": Path(files.SUMS)}.get(place, path)
    odd.unlink(missing_ok=True)
    {
        "pipe": os.mkfifo,
        "device": lambda path: path.symlink_to("/dev/zero"),
        "folder": Path.mkdir,
    }[kind](odd)
    readers: dict[str, list[Callable[[Path], object]]] = {
        ".flac": [read_clip],
        ".h5": [ClipFile, provenance.digest],
        ".json": [files.read_json],
        ".csv": [files.read_csv],
    }
    for read in readers.get(path.suffix, [files.require_intact]):
        with within(PATIENCE_S), pytest.raises(PipelineError, match=f"^{odd}: not a regular file"):
            read(path)


@contextlib.contextmanager
def within(limit_s: int) -> Iterator[None]:
    """Fail where the block waits longer, and not end the process of the tests."""

    def end(*_: object) -> None:
        pytest.fail("it waits")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(limit_s)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_read_json_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="no such file, run `dvc repro`"):
        files.read_json(tmp_path / "absent.json")
    (tmp_path / "torn.json").write_text('{"a": ')
    with pytest.raises(PipelineError, match="not valid JSON"):
        files.read_json(tmp_path / "torn.json")


def test_digest_ignores_key_order_and_sees_values() -> None:
    assert files.digest({"a": 1, "b": [2]}) == files.digest({"b": [2], "a": 1})
    assert files.digest({"a": 1}) != files.digest({"a": 1.5})


def test_scratch_is_keyed_by_content(project: Path) -> None:
    assert locks.scratch({"lr": 1}) == locks.scratch({"lr": 1})
    assert locks.scratch({"lr": 1}) != locks.scratch({"lr": 2})


def test_a_pipe_or_a_folder_in_a_files_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    for name in ("pipe.json", "folder.json"):
        for read in (files.read_json, files.read_csv, files.require_intact):
            with pytest.raises(PipelineError, match=f"{name}: not a regular file"):
                read(tmp_path / name)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EMFILE])
def test_a_refusal_of_the_system_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "a.json"
    path.write_text("{}")
    monkeypatch.setattr(Path, "open", Mock(side_effect=OSError(number, "refused", str(path))))
    for read in (files.read_json, files.read_csv, files.require_intact):
        with pytest.raises(OSError, match="refused") as refused:
            read(path)
        assert "delete" not in remedy(refused.value)


def test_a_text_is_compared_as_it_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one takes its place between the reading and the comparing, for as long as that."""
    monkeypatch.chdir(tmp_path)
    path = Path("artifacts/one.json")
    files.write_json(path, 1)
    files.seal(path)
    read_bytes = Path.read_bytes

    def swapped(read: Path) -> bytes:
        return b"2\n" if read == path else read_bytes(read)

    monkeypatch.setattr(Path, "read_bytes", swapped)
    with pytest.raises(PipelineError, match=r"one\.json: damaged or edited"):
        files.read_json(path)


def test_what_a_library_opens_anew_stays_what_it_was(tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    for change in (
        lambda: path.write_bytes(b"two"),
        lambda: other.replace(path),
        path.unlink,
    ):
        path.write_bytes(b"one")
        other.write_bytes(b"one")
        with files.unchanged(path):
            path.read_bytes()
        told = f"^{path}: changed while it was read"
        with pytest.raises(PipelineError, match=told), files.unchanged(path):
            change()
            raise ValueError("damaged")  # what a library says of a file that is half written
