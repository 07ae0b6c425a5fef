"""Records and marks of runs, while others run."""

from pathlib import Path

import pytest

from pipeline.ground import files, locks, runs


def test_a_run_that_ended_well_leaves_a_record_and_no_mark(project: Path) -> None:
    runs.begin("split")
    assert runs.unfinished(0.0) == ["split"]
    runs.makes("seal")
    runs.record("split", 1.0)
    assert runs.unfinished(0.0) == []
    assert [(one["command"], one["seconds"]) for one in runs.read({"seal"})] == [("split", 1.0)]


def test_a_run_is_read_where_what_it_made_is_asked_for(project: Path) -> None:
    for command, seals in (("one", "ab"), ("two", "bc"), ("none", "")):
        runs.begin(command)
        for seal in seals:
            runs.makes(seal)
        runs.record(command, 1.0)
    found = [sorted(one["command"] for one in runs.read(asked)) for asked in ({"a"}, {"b"}, set())]
    assert found == [["one"], ["one", "two"], []]


def test_it_ended_well_where_no_record_can_be_left(project: Path) -> None:
    runs.begin("split")
    locks.scratch_root().mkdir()
    (locks.scratch_root() / "runs").touch()
    runs.record("split", 1.0)
    assert runs.unfinished(0.0) == []


def test_a_mark_may_vanish_while_it_is_looked_at(project: Path) -> None:
    runs.begin("split")
    (files.LOCKS / f"gone{runs.MARK}").symlink_to("nowhere")
    assert runs.unfinished(0.0) == ["split"]


def test_two_projects_may_end_one_command_at_once(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other's record takes the place of what both write, if that has one name."""
    replace = Path.replace

    def meanwhile(path: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", replace)
        monkeypatch.setattr("os.getpid", lambda: 1)
        runs.record("split", 2.0)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", meanwhile)
    runs.makes("seal")
    runs.record("split", 1.0)
    assert [one["seconds"] for one in runs.read({"seal"})] == [1.0]
