"""Atomic outputs: whole or not at all."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from pipeline.ground import files
from pipeline.ground.errors import PipelineError, remedy

KILLED_WHILE_WRITING = """
import os, signal
from pathlib import Path
from pipeline.ground import files
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


def test_nothing_is_published_where_the_staging_folder_was_deleted(project: Path) -> None:
    """What a stage makes anew after it lacks what it had made before."""
    out = Path("artifacts/x/out")
    with pytest.raises(PipelineError, match=r"staging: was deleted"), files.publish(out) as staged:
        (staged / "audio").mkdir(parents=True)
        shutil.rmtree(files.STAGING)
        (staged / "audio").mkdir(parents=True)
    assert not out.exists()


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
    assert files.scratch({"lr": 1}) == files.scratch({"lr": 1})
    assert files.scratch({"lr": 1}) != files.scratch({"lr": 2})


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
