"""Which utterances are worth listening to: sure mistakes, and labels that classifiers dispute.

Every probability is of a classifier that had not heard the speaker: those on test, of each fold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.metrics import disputes
from pipeline.metrics.arrays import Floats, Ints
from pipeline.scoring.active import System
from pipeline.scoring.believe import members
from pipeline.scoring.believe.members import Told
from pipeline.splits.targets import Task
from pipeline.splits.valued import Valued


@dataclass(frozen=True)
class Doubt:
    """An utterance whose label is doubted, and the class that it is heard as.

    ``of_label`` and ``of_other`` are mean probabilities; ``against`` of ``systems`` classifiers
    dispute the label, each by itself.
    """

    utterance: str
    label: str
    other: str
    of_label: float
    of_other: float
    against: int
    systems: int


@dataclass(frozen=True)
class Doubts:
    """Of a task: disputed labels, the surest first; and mistakes, the most confident first.

    ``labels`` counts the utterances that were judged. A mistake need not be disputed: all of a
    class may be mistaken as surely.
    """

    labels: int
    disputed: Sequence[Doubt]
    mistaken: Sequence[Doubt]


def find(systems: Mapping[System, Sequence[int]], tasks: Mapping[str, Task]) -> dict[str, Doubts]:
    """The doubts of each task of classes: of the mean over its systems' calibrated probabilities.

    Raises:
        PipelineError: Predictions are missing or damaged.
    """
    found = {}
    for name, task in tasks.items():
        own = {system: used for system, used in systems.items() if system[0] == name}
        if isinstance(task, Valued) or not own:
            continue
        told = [members.read(system, used, task, "test") for system, used in own.items()]
        found[name] = _of([one for one in told if one], task.names)
    return found


def _of(told: Sequence[Told], classes: Sequence[str]) -> Doubts:
    names = sorted({u for one in told for u in one.said.utterance[one.said.truth >= 0].tolist()})
    index = {name: row for row, name in enumerate(names)}
    sums, heard = np.zeros((len(names), len(classes))), np.zeros(len(names), np.int64)
    against, labels = np.zeros(len(names), np.int64), np.zeros(len(names), np.int64)
    for one in told:
        rows, mean, truth = _by_utterance(one, index)
        sums[rows] += mean
        heard[rows] += 1
        labels[rows] = truth
        against[rows] += disputes.find(mean, truth).disputed
    mean = sums / heard[:, None]
    found = disputes.find(mean, labels)
    guess = mean.argmax(1)

    def doubt(row: int, other: int) -> Doubt:
        label, counts = labels[row], (int(against[row]), int(heard[row]))
        told_of = float(mean[row, label]), float(mean[row, other])
        return Doubt(names[row], classes[label], classes[other], *told_of, *counts)

    wrong = np.flatnonzero(guess != labels)
    order = wrong[np.argsort(-mean[wrong].max(1), kind="stable")]
    return Doubts(
        len(names),
        [doubt(row, int(found.other[row])) for row in found.ranked()],
        [doubt(row, int(guess[row])) for row in order.tolist()],
    )


def _by_utterance(one: Told, index: Mapping[str, int]) -> tuple[Ints, Floats, Ints]:
    """A system's utterances by their rows, its probabilities, meant over folds, and its labels."""
    kept = one.said.truth >= 0
    rows = np.array([index[name] for name in one.said.utterance[kept].tolist()])
    where, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    sums = np.zeros((len(where), one.aims.shape[1]))
    np.add.at(sums, inverse, one.outputs()[kept])
    return where, sums / np.bincount(inverse)[:, None], one.said.truth[kept][first]
