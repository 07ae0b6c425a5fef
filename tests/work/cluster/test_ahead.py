"""Runs ahead of their turn: made once, published in it, and never in place of another."""

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.ground import locks, stage
from pipeline.ground.errors import PipelineError
from pipeline.ground.launch import ahead as launch
from pipeline.ground.launch.waiting import Run
from tests.params import set_runtime
from tests.patience import PATIENCE_S, wait_until
from tests.work.cluster import folds


def test_a_matrix_is_made_in_its_first_turn(project: Path) -> None:
    """On a Ray of this machine: the smoke test."""
    folds.lay_out()
    set_runtime(workers=1)
    told = folds.turn(0).splitlines()
    assert [line for line in told if line.startswith("ahead: multitask")] == [
        f"ahead: multitask --fold {fold}: done" for fold in range(3)
    ]
    assert told[-1] == "multitask --fold 0: was made ahead, is published"
    assert sorted(folds.computed()) == [0, 1, 2]
    assert (folds.texts(), folds.waiting()) == ({0: "fold 0 of seed 1"}, [1, 2])
    # From the store: without Ray, and the bytes of a run in its turn.
    assert folds.turn(1) == "multitask --fold 1: was made ahead, is published\n"
    assert folds.texts()[1] == "fold 1 of seed 1"
    assert (len(folds.computed()), folds.waiting()) == (3, [2])
    made = {p.name: p.read_bytes() for p in Path("artifacts/multitask/2").parent.glob("1/*")}
    set_runtime(engine="processes", ahead=False)
    folds.turn(1)
    assert len(folds.computed()) == 4
    assert {p.name: p.read_bytes() for p in Path("artifacts/multitask/1").iterdir()} == made
    assert json.loads(made["more.json"]) == [1]
    assert "more.json" in made["SHA256SUMS"].decode()
    assert not list(Path("artifacts/.staging").glob("*"))
    assert not list(Path("artifacts/.locks").glob("ahead-*"))


@pytest.fixture
def quick(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three folds, whose runs are made one after another, without Ray."""
    folds.lay_out()
    folds.without_ray(monkeypatch)


def turn(fold: int, status: int = 0) -> str:
    """As `folds.turn`, but what is handed on is so in this process."""
    done, told = folds.here(f"multitask@{fold}", "multitask", "--fold", str(fold))
    return told + ("" if done else folds.turn(fold, status, DVC_STAGE=""))


@pytest.mark.usefixtures("quick")
def test_what_fails_ahead_fails_in_its_own_turn() -> None:
    folds.tell(1, "fail")
    told = turn(0)
    assert "ahead: multitask --fold 1: status 1: data/1.txt: says so, mend it\n" in told
    assert folds.texts() == {0: "fold 0 of seed 1"}
    assert turn(1, 1) == "data/1.txt: says so, mend it\n"
    assert turn(2).splitlines() == ["multitask --fold 2: was made ahead, is published"]
    assert sorted(folds.computed()) == [0, 1, 1, 2]


@pytest.mark.usefixtures("quick")
def test_a_stage_that_fails_itself_says_so() -> None:
    folds.tell(0, "fail")
    assert turn(0, 1).splitlines()[-1] == "data/0.txt: says so, mend it"
    assert (folds.texts(), folds.waiting()) == ({}, [1, 2])
    # The rest is not made a second time; mended, it is made alone.
    folds.tell(0, "well")
    assert turn(0) == ""
    assert folds.texts() == {0: "well of seed 1"}
    assert sorted(folds.computed()) == [0, 0, 0, 1, 2]


@pytest.mark.usefixtures("quick")
def test_what_has_no_inputs_is_not_handed_on() -> None:
    Path("data/1.txt").unlink()
    assert "ahead: 2 runs side by side" in turn(0)
    Path("data/2.txt").unlink()
    assert turn(0) == ""
    assert sorted(folds.computed()) == [0, 0, 2]


@pytest.mark.usefixtures("quick")
def test_a_result_of_other_inputs_is_not_published() -> None:
    turn(0)
    folds.tell(1, "another")
    turn(1)
    assert folds.texts()[1] == "another of seed 1"
    text = Path("params.yaml").read_text("utf-8")
    Path("params.yaml").write_text(text.replace("\nseed: 1\n", "\nseed: 2\n"), "utf-8")
    turn(2)
    assert folds.texts()[2] == "fold 2 of seed 2"
    assert folds.waiting() == [1, 2]  # for `ser cache gc`


@pytest.mark.usefixtures("quick")
def test_a_damaged_result_is_made_anew() -> None:
    turn(0)
    for path in Path(".scratch").glob("*/artifacts/multitask/1/text.txt"):
        path.write_text("damaged")
    told = turn(1)
    assert "damaged or edited" in told
    assert "it is made anew" in told
    assert folds.texts()[1] == "fold 1 of seed 1"
    assert folds.waiting() == [2]


def test_what_changes_after_it_was_handed_on_is_not_made(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds.lay_out()
    words = ("stages.multitask", "--fold", "1")
    run = Run(words, "artifacts/multitask/1", ("data/1.txt",), ("seed",), "a computer")
    for name, value in launch.environment(run).items():
        monkeypatch.setenv(name, value)
    told = run.told, stage.runtime(), words[0], words[1:]
    assert not launch.ahead(*told)
    folds.tell(1, "another")
    with pytest.raises(PipelineError, match=r"its inputs changed after it was handed on, run"):
        launch.ahead(*told)
    locks.release(run.folder)


@pytest.mark.cluster
@pytest.mark.parametrize("where", ["here", "a cluster"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_all_that_was_begun(
    project: Path, places: str, number: signal.Signals, where: str
) -> None:
    """And leaves nothing; what was done waits, the rest is made in the next run."""
    folds.lay_out(address=places if where == "a cluster" else "")
    folds.tell(1, "wait")
    rays = set(Path("/tmp").glob("ser-ray-*"))  # noqa: S108
    process = folds.begun(0)
    # All have begun: a place may be there later than the other, which does 0 and 2 meanwhile.
    begun = [[0, 2], [0, 1, 2]]
    wait_until(
        lambda: [folds.waiting(), sorted(folds.computed())] == begun or process.poll() is not None
    )
    process.send_signal(number)
    _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (128 + number, -number), told
    wait_until(lambda: not below(project))
    if number != signal.SIGKILL:  # then the program that hands on is told by the system
        wait_until(lambda: set(Path("/tmp").glob("ser-ray-*")) <= rays)  # noqa: S108
    assert (folds.texts(), folds.waiting()) == ({}, [0, 2])
    Path("go").touch()
    assert folds.turn(0) == "multitask --fold 0: was made ahead, is published\n"
    folds.turn(1)
    folds.turn(2)
    assert folds.texts()[1] == "wait of seed 1"
    assert sorted(folds.computed()) == [0, 1, 1, 2]
    assert not list(Path("artifacts/.staging").glob("*"))
    assert not list(Path(".scratch").glob("*/artifacts/multitask/*~"))


def below(project: Path) -> list[str]:
    """The processes that work in the project, but for this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (path / "cwd").readlink() == project and int(path.name) != os.getpid():
                found.append((path / "cmdline").read_text("utf-8", "replace"))
    return found
