"""An ensemble under conditions: what `stress` had each member say there, averaged.

Temperatures and weights are those of the ensemble itself: nothing is fitted to a condition.
"""

from collections.abc import Sequence

from pipeline.corpora import manifest
from pipeline.scoring.active import Ensemble, System
from pipeline.scoring.believe import fused, members
from pipeline.scoring.believe.fused import Fused
from pipeline.scoring.scores import Predictions
from pipeline.splits.targets import Task

STRESS = manifest.ARTIFACTS / "stress"


def under(
    row: System, ensemble: Ensemble, used: Sequence[int], task: Task, conditions: Sequence[str]
) -> dict[str, Predictions]:
    """The average over the members in these folds, by condition.

    Raises:
        PipelineError: As `fused.read`; or what `stress` left is missing or of other utterances.
    """
    found = fused.read(row, ensemble, used, task)
    return {condition: _said(found, task, condition) for condition in conditions}


def _said(found: Fused, task: Task, condition: str) -> Predictions:
    heard = []
    for one in found.tested:
        folder = STRESS.joinpath(*one.system, condition)
        folders = {fold: folder / str(fold) for fold in found.weights}
        told = members.told(one.system, folders, task, "test", one.temperatures)
        heard.append(told.in_order_of(found.tested[0]))
    return found.said(heard)
