"""What the rows of an experiment say on test: its classifiers, and its ensembles.

An ensemble has no predictions of its own: its members' are averaged as `evaluate` does it.
"""

from pathlib import Path

from pydantic import TypeAdapter

from pipeline.ground.errors import PipelineError
from pipeline.scoring import active
from pipeline.scoring.active import System
from pipeline.scoring.believe import fused
from pipeline.scoring.experiments import Experiment
from pipeline.scoring.scores import Predictions
from pipeline.splits.targets import Task


def folds(one: Experiment) -> dict[System, list[int]]:
    """Those of each row, classifiers before ensembles: of these the ones whose members are there.

    Raises:
        PipelineError: An ensemble is not written as this version does.
    """
    try:
        found = active.ensembles(one.params)
    except (TypeError, ValueError):
        raise _other_version(one) from None
    having = {
        row: one.systems[ensemble.systems[0]]
        for row, ensemble in found.items()
        if all(system in one.systems for system in ensemble.systems)
    }
    return one.systems | having


def predictions(one: Experiment, row: System, folder: Path) -> Predictions:
    """What a row says on test over its folds, by way of an empty ``folder``.

    Raises:
        PipelineError: Predictions are not in DVC's cache, damaged, or not of the same utterances.
    """
    ensemble = active.ensembles(one.params).get(row)
    if not ensemble:
        found: Predictions = one.predictions(row, folder)
        return found
    for system in ensemble.systems:
        one.copied(system, folder.joinpath(*system))
    both = fused.read(row, ensemble, one.systems[ensemble.systems[0]], _task(one, row), folder)
    return both.said(both.tested)


def _task(one: Experiment, row: System) -> Task:
    try:
        found: Task = TypeAdapter(Task).validate_python(one.tasks[row[0]])
    except ValueError:
        raise _other_version(one) from None
    return found


def _other_version(one: Experiment) -> PipelineError:
    return PipelineError(f"{one.name}: its params.yaml is of another version, name another")
