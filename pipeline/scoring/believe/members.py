"""What classifiers say of the same utterances, in words that can be averaged.

Of classes these are probabilities, calibrated where a classifier had dev; of dimensions values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.methods import calibration
from pipeline.metrics.arrays import Floats
from pipeline.scoring import evaluation, ratings
from pipeline.scoring.active import System
from pipeline.scoring.evaluation import CLASSIFIERS
from pipeline.scoring.scores import Predictions
from pipeline.splits.targets import Task, Votes
from pipeline.splits.valued import Valued

FILE = "predictions.csv"


@dataclass(frozen=True)
class Told:
    """One system in one role: its outputs, its aims, and the temperature of each fold that has one.

    ``aims`` are what it should have said, (utterances, outputs): classes as 0 and 1, shares of
    votes, or ratings.
    """

    system: System
    said: Predictions
    aims: Floats
    temperatures: Mapping[int, float]

    @property
    def is_calibrated(self) -> bool:
        """Whether every fold has a temperature."""
        return set(self.temperatures) == set(self.said.fold.tolist())

    @property
    def is_of_classes(self) -> bool:
        """Whether it tells classes, not dimensions."""
        return self.said.truth.ndim == 1

    def outputs(self, is_calibrated: bool = True) -> Floats:
        """Values, or probabilities: calibrated where it is, or as it was trained."""
        if not self.is_of_classes:
            return self.said.guess
        known = self.temperatures if is_calibrated else {}
        scale = np.array([known.get(fold, 1.0) for fold in self.said.fold.tolist()])
        return calibration.probabilities(self.said.guess / scale[:, None], 1.0)

    def in_order_of(self, other: "Told") -> "Told":
        """The same with its rows as another's.

        Raises:
            PipelineError: The other has other utterances, or they have other aims there.
        """
        rows = {key: row for row, key in enumerate(_keys(self.said))}
        wanted = _keys(other.said)
        if set(wanted) == set(rows):
            order = np.array([rows[key] for key in wanted])
            said = Predictions(*(getattr(self.said, name)[order] for name in vars(self.said)))
            found = replace(self, said=said, aims=self.aims[order])
            if np.array_equal(found.aims, other.aims):
                return found
        raise PipelineError(
            f"params.yaml: {'/'.join(self.system)} and {'/'.join(other.system)} were not given the "
            "same utterances with the same labels, run `dvc repro`, or average one of them alone"
        )


def read(
    system: System, used: Sequence[int], task: Task, role: str, root: Path = CLASSIFIERS
) -> Told | None:
    """What a system says over its folds, below ``root``; None where one has no such role.

    Raises:
        PipelineError: A file is missing or damaged.
    """
    folders = {fold: root.joinpath(*system, str(fold)) for fold in used}
    if not all(_has(folder / FILE, role) for folder in folders.values()):
        return None
    found = {fold: calibration.read(folder) for fold, folder in folders.items()}
    scales = {fold: one.temperature for fold, one in found.items() if one}
    return told(system, folders, task, role, scales)


def told(
    system: System,
    folders: Mapping[int, Path],
    task: Task,
    role: str,
    temperatures: Mapping[int, float],
) -> Told:
    """What predictions in the folders of each fold say, with these temperatures.

    Raises:
        PipelineError: A file is missing or damaged, or has no such role.
    """
    paths = {fold: folder / FILE for fold, folder in folders.items()}
    said = evaluation.read(paths, task.target, task.names, system[0], role)
    if isinstance(task, Valued):
        return Told(system, said, said.truth, {})
    if isinstance(task, Votes):
        return Told(system, said, ratings.read_votes(paths, task.names, role)[1], temperatures)
    return Told(system, said, np.eye(len(task.names))[said.truth], temperatures)


def _has(path: Path, role: str) -> bool:
    return any(row.get("role") == role for row in files.read_csv(path))


def _keys(said: Predictions) -> list[tuple[int, str]]:
    return list(zip(said.fold.tolist(), said.utterance.tolist(), strict=True))
