"""What follows from a confusion matrix: recalls and their means, F1.

Confusions are integer arrays (..., classes, classes), truth in rows; leading axes are resamples or
folds, so that a bootstrap over speakers is one matrix product.
"""

import numpy as np
import numpy.typing as npt

from pipeline.metrics.arrays import Floats, Ints, mean, ratio


def confusion(truth: Ints, guess: Ints, classes: int) -> Ints:
    """How often each truth (row) was taken for each class (column)."""
    counts = np.bincount(truth * classes + guess, minlength=classes**2)
    return counts.reshape(classes, classes).astype(np.int64)


def recalls(counts: npt.NDArray[np.number]) -> Floats:
    """The recall of each class, (..., classes); NaN where the truth lacks it."""
    return ratio(hits(counts), counts.sum(-1))


def uar(counts: npt.NDArray[np.number]) -> Floats:
    """Unweighted average recall over the classes that the truth has (balanced accuracy)."""
    return mean(recalls(counts))


def war(counts: npt.NDArray[np.number]) -> Floats:
    """Weighted average recall: accuracy."""
    return ratio(hits(counts).sum(-1), counts.sum((-1, -2)))


def f1(counts: npt.NDArray[np.number]) -> dict[str, float]:
    """F1 over the classes seen in truth or guesses: macro, micro (accuracy), weighted by truth."""
    truth, guess = counts.sum(-1), counts.sum(-2)
    each = ratio(2 * hits(counts), truth + guess)
    seen = truth > 0
    return {
        "macro": float(mean(each)),
        "micro": float(war(counts)),
        "weighted": float((each[seen] * truth[seen]).sum() / truth.sum()),
    }


def hits(counts: npt.NDArray[np.number]) -> npt.NDArray[np.number]:
    """How often each class was found, (..., classes)."""
    return np.diagonal(counts, axis1=-2, axis2=-1)
