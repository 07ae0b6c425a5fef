"""Which runs DVC was asked for, by the commands that a process comes from."""

from pathlib import Path

import pytest

from pipeline.ground import stage
from pipeline.ground.errors import PipelineError
from pipeline.work.cluster import matrix
from tests.params import set_runtime
from tests.work.cluster import folds

PYTHON, SHELL = "/venv/bin/python", ["/bin/sh", "-c", "python -m stages.multitask --fold 0"]
WORDS = ["stages.multitask", "--fold", "0"]


def told(monkeypatch: pytest.MonkeyPatch, *commands: str) -> list[int]:
    """What is handed on in fold 0's turn, below processes of these commands."""
    lines = [SHELL, *(command.split() for command in commands), ["/sbin/init"]]
    monkeypatch.setattr(matrix, "_ancestors", lambda: iter(lines))
    return [int(run.words[-1]) for run in matrix.runs("multitask@0", WORDS, "a computer")]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("dvc repro", [0, 1, 2]),
        (f"{PYTHON} /venv/bin/dvc repro", [0, 1, 2]),
        (f"{PYTHON} -m dvc exp run -S seed=3 --name a", [0, 1, 2]),
        ("dvc repro multitask", [0, 1, 2]),
        ("dvc repro multitask@2 multitask@0", [0, 2]),
        ("dvc exp run --temp multitask@0", [0]),
        ("dvc repro --downstream multitask@0", [0, 1, 2]),
        ("dvc repro -s multitask", []),
        ("dvc repro --single-item multitask@0", []),
        ("dvc repro -fs multitask@0", []),
        (f"{PYTHON} -m dvc exp run --single multitask", []),
        ("sh -c dvc", [0, 1, 2]),
        ("vi dvc.yaml", [0, 1, 2]),
        ("dvc no-such-command", [0, 1, 2]),
    ],
)
def test_what_was_asked_for(
    project: Path, monkeypatch: pytest.MonkeyPatch, command: str, expected: list[int]
) -> None:
    folds.lay_out()
    assert told(monkeypatch, command) == expected


def test_an_experiment_beside_the_workspace_is_asked_by_the_command_above(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds.lay_out()
    executor = f"{PYTHON} -m dvc exp exec-run --infofile x"
    assert told(monkeypatch, executor, "dvc exp run --temp -s multitask") == []
    assert told(monkeypatch, executor) == [0, 1, 2]


def test_a_stage_of_another_name_or_command_hands_nothing_on(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds.lay_out()
    monkeypatch.setattr(matrix, "_ancestors", lambda: iter([]))
    assert matrix.runs("multitask@2", WORDS, "") == []
    assert matrix.runs("multitask@7", WORDS, "") == []
    last = matrix.runs("multitask@2", ["stages.multitask", "--fold", "2"], "")
    assert [run.words[-1] for run in last] == ["2"]


def test_a_run_has_what_dvc_has_of_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folds.lay_out()
    monkeypatch.setattr(matrix, "_ancestors", lambda: iter([]))
    run = matrix.runs("multitask@0", WORDS, "a computer")[0]
    assert (run.told, run.out) == ("multitask --fold 0", "artifacts/multitask/0")
    assert (run.inputs, run.params) == (("data/0.txt",), ("seed",))


def test_the_commands_above_are_read_from_the_system() -> None:
    found = list(matrix._ancestors())
    assert all(words and isinstance(words[0], str) for words in found[:1])


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"engine": "processes"}, "runtime.engine to ray"),
        ({"launcher": "srun"}, 'runtime.launcher to ""'),
        ({"device": "cuda:1"}, "runtime.device to cuda"),
    ],
)
def test_places_are_of_ray_and_one_each(
    project: Path, changes: dict[str, str], remedy: str
) -> None:
    set_runtime(**{"ahead": True, "engine": "ray", **changes})
    with pytest.raises(PipelineError, match=rf"runtime\.ahead is true, .* set {remedy}, or"):
        stage.runtime()
    set_runtime(ahead=False)
    stage.runtime()
