"""Equal error rates: of the posteriors, and the threshold-free one of a published table."""

import numpy as np
import numpy.typing as npt

from pipeline.metrics.arrays import Floats, Ints, mean, ratio
from pipeline.metrics.recalls import hits, recalls


def eer(truth: Ints, logits: Floats) -> float:
    """Equal error rate, one class against the rest, mean over the classes that the truth has.

    The detection score is the posterior (softmax of ``logits``, (utterances, classes)); the rate is
    where the false positive and false negative rates cross as the threshold moves, interpolated.
    """
    present = np.unique(truth)
    if len(present) < 2:
        return float("nan")
    scores = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return float(np.mean([_eer(truth == c, scores[:, c]) for c in present]))


def eer_argmax(counts: npt.NDArray[np.number]) -> float:
    """The mean over classes of (false positive rate + false negative rate) / 2 at the argmax.

    It has no threshold, and is what "Efficient Fine-Tuning Approaches on HuBERT" reports as EER:
    recomputed from the confusions of its tables 4 to 6, it gives its table 3.
    """
    truth = counts.sum(-1)
    false_negative = 1 - recalls(counts)
    false_positive = ratio(counts.sum(-2) - hits(counts), counts.sum() - truth)
    return float(mean((false_positive + false_negative) / 2))


def _eer(positive: npt.NDArray[np.bool_], scores: Floats) -> float:
    """Equal error rate of a detector whose positives should score high."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # equal scores cross the threshold at once
    found = np.concatenate([[0], np.cumsum(positive[order])[last]])
    accepted = np.concatenate([[0], np.flatnonzero(last) + 1])
    miss = 1 - found / positive.sum()
    false_alarm = (accepted - found) / (~positive).sum()
    after = int(np.argmax(false_alarm >= miss))
    gap = (miss - false_alarm)[after - 1 : after + 1]
    share = gap[0] / (gap[0] - gap[1])
    return float(miss[after - 1] + share * (miss[after] - miss[after - 1]))
