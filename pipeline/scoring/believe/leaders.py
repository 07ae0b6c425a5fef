"""Of each task the row that does best on test, and whether that is more than chance."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.scoring.believe import fused
from pipeline.scoring.evaluation import Classifier
from pipeline.scoring.scores import Bootstrap, Scores


@dataclass(frozen=True)
class Leader:
    """The best of ``count`` rows of a task, and the one behind it: ``gain`` is between the two."""

    best: Classifier
    score: float
    behind: Classifier | None
    gain: Scores
    count: int


def find(classifiers: Sequence[Classifier], bootstrap: Bootstrap) -> list[Leader]:
    """The leader of each task, in the tasks' order; ensembles are left to their own section."""
    found = []
    for task in dict.fromkeys(c.task for c in classifiers):
        own = [c for c in classifiers if c.task == task and "ensemble" not in c.scores]
        measured = {c.name: fused.measure(c.tested, len(c.classes)) for c in own}
        order = sorted(own, key=lambda c: -measured[c.name])
        best, behind = order[0], order[1] if len(order) > 1 else None
        same = behind and sorted(behind.tested.utterance) == sorted(best.tested.utterance)
        gain = (
            fused.gain(behind.tested, best.tested, len(best.classes), bootstrap)
            if behind and same
            else {}
        )
        found.append(Leader(best, measured[best.name], behind, gain, len(own)))
    return found
