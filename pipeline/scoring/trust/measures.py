"""What groups of speakers are compared by: recall and calibration, or concordance and error.

Each as a function of how often every speaker counts, so that a group, a resample of it and any
other assignment of the groups' names are scored alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.metrics import agreement, permutation
from pipeline.metrics.arrays import Floats, Ints, mean, ratio
from pipeline.metrics.calibration import reliability
from pipeline.scoring.scores import Predictions


@dataclass(frozen=True)
class Measure:
    """A score of speakers by their weights, (draws, speakers) to (draws,).

    ``resampled`` says whether an interval over speakers is told: of a calibration error, which is
    the larger the fewer speakers differ, it would not hold it.
    """

    of: permutation.Score
    resampled: bool = True


def of_classes(
    tested: Predictions, sure: Floats, who: Ints, common: Sequence[int]
) -> dict[str, Measure]:
    """Recall over the ``common`` classes, where there are any, and the calibration error.

    Args:
        tested: Whose truth is known.
        sure: (utterances,) the confidence in what was answered.
        who: (utterances,) the speaker, numbered from 0.
        common: The classes that count.
    """
    right = tested.guess.argmax(1) == tested.truth
    hits, totals, gaps, counts = [], [], [], []
    for speaker in range(who.max() + 1):
        own = who == speaker
        truth = tested.truth[own]
        totals.append([(truth == c).sum() for c in common])
        hits.append([(truth[right[own]] == c).sum() for c in common])
        told = reliability(sure[own], right[own])
        gaps.append(np.nan_to_num(told.counts * (told.accuracy - told.confidence)))
        counts.append([own.sum()])
    recall = np.concatenate([hits, totals], 1).astype(np.float64)
    errors = np.concatenate([gaps, counts], 1).astype(np.float64)
    ece = {"ece": Measure(lambda weights: _ece(weights @ errors), resampled=False)}
    return {"uar": Measure(lambda weights: _uar(weights @ recall)), **ece} if common else ece


def of_dimensions(tested: Predictions, who: Ints) -> dict[str, Measure]:
    """Concordance and absolute error, each the mean over the dimensions.

    An undefined concordance counts as 0, as everywhere.
    """
    pairs = list(zip(tested.truth.T, tested.guess.T, strict=True))

    def ccc(weights: Floats) -> Floats:
        found = [agreement.concordance_resamples(*pair, who, weights) for pair in pairs]
        return mean(np.nan_to_num(np.stack(found, 1)))

    def mae(weights: Floats) -> Floats:
        return mean(np.stack([agreement.mae_resamples(*p, who, weights) for p in pairs], 1))

    return {"ccc": Measure(ccc), "mae": Measure(mae)}


def _uar(sums: Floats) -> Floats:
    hits, totals = np.split(sums, 2, -1)
    return mean(ratio(hits, totals))


def _ece(sums: Floats) -> Floats:
    return ratio(np.abs(sums[..., :-1]).sum(-1), sums[..., -1])
