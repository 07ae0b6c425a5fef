"""What predictions are measured by: plain formulas on arrays.

Stands between the predictions of the training stages and the scores of `evaluate`. Confusions are
integer arrays (..., classes, classes), truth in rows; leading axes are resamples or folds, so that
a bootstrap over speakers is one matrix product.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

CHUNK = 128  # resamples whose ranks are held at once


def confusion(truth: Ints, guess: Ints, classes: int) -> Ints:
    """How often each truth (row) was taken for each class (column)."""
    counts = np.bincount(truth * classes + guess, minlength=classes**2)
    return counts.reshape(classes, classes).astype(np.int64)


def recalls(counts: npt.NDArray[np.number]) -> Floats:
    """The recall of each class, (..., classes); NaN where the truth lacks it."""
    return _ratio(_hits(counts), counts.sum(-1))


def uar(counts: npt.NDArray[np.number]) -> Floats:
    """Unweighted average recall over the classes that the truth has (balanced accuracy)."""
    return _mean(recalls(counts))


def war(counts: npt.NDArray[np.number]) -> Floats:
    """Weighted average recall: accuracy."""
    return _ratio(_hits(counts).sum(-1), counts.sum((-1, -2)))


def f1(counts: npt.NDArray[np.number]) -> dict[str, float]:
    """F1 over the classes seen in truth or guesses: macro, micro (accuracy), weighted by truth."""
    hits, truth, guess = _hits(counts), counts.sum(-1), counts.sum(-2)
    each = _ratio(2 * hits, truth + guess)
    seen = truth > 0
    return {
        "macro": float(_mean(each)),
        "micro": float(war(counts)),
        "weighted": float((each[seen] * truth[seen]).sum() / truth.sum()),
    }


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
    false_positive = _ratio(counts.sum(-2) - _hits(counts), counts.sum() - truth)
    return float(_mean((false_positive + false_negative) / 2))


def spearman(truth: Floats, guess: Floats) -> float:
    """Spearman's rho, ties at their mean rank; NaN where one side is constant."""
    middle = (len(truth) + 1) / 2
    one = np.ones(len(truth))
    return float(_correlation(_ranks(truth) - middle, _ranks(guess) - middle, one))


def spearman_resamples(truth: Floats, guess: Floats, groups: Ints, weights: Floats) -> Floats:
    """Spearman's rho of each resample, (resamples,), ranked anew in each.

    Args:
        truth: (utterances,).
        guess: (utterances,).
        groups: (utterances,) the group (speaker) that each belongs to.
        weights: (resamples, groups) how often each group was drawn.
    """
    ladders = [_ladder(values, groups, weights.shape[1]) for values in (truth, guess)]
    rhos = np.empty(len(weights))
    for start in range(0, len(weights), CHUNK):
        drawn = weights[start : start + CHUNK]
        times = drawn[:, groups]
        middle = times.sum(1, keepdims=True) / 2
        x, y = ((drawn @ below.T)[:, place] - middle for below, place in ladders)
        rhos[start : start + CHUNK] = _correlation(x, y, times)
    return rhos


def r_squared(truth: Floats, guess: Floats) -> float:
    """The coefficient of determination: above 0 it beats every constant guess; NaN for one truth.

    The best constant guess is the mean of ``truth`` itself, so that of training can't be better.
    """
    everyone = np.zeros(len(truth), np.int64)
    return float(r_squared_resamples(truth, guess, everyone, np.ones((1, 1)))[0])


def r_squared_resamples(truth: Floats, guess: Floats, groups: Ints, weights: Floats) -> Floats:
    """R squared of each resample, (resamples,); arguments as of `spearman_resamples`."""
    centred = truth - truth.mean()  # sums of squares then keep their digits
    parts = (np.ones(len(truth)), centred, centred**2, (guess - truth) ** 2)
    sums = [np.bincount(groups, part, weights.shape[1]) for part in parts]
    count, first, second, error = (weights @ by_group for by_group in sums)
    return 1 - _ratio(error, second - first**2 / count)


def resample(groups: int, resamples: int, rng: np.random.Generator) -> Floats:
    """How often each group is in each bootstrap resample, (resamples, groups)."""
    return rng.multinomial(groups, np.full(groups, 1 / groups), resamples).astype(np.float64)


def interval(values: Floats) -> tuple[float, float]:
    """The central 95 % of bootstrap values (percentiles); NaN ones are left out."""
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def _hits(counts: npt.NDArray[np.number]) -> npt.NDArray[np.number]:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _ratio(part: npt.NDArray[np.number], whole: npt.NDArray[np.number]) -> Floats:
    """The quotient, NaN where the whole is empty."""
    unknown = np.full(np.shape(whole), np.nan)
    quotient: Floats = np.divide(part, whole, out=unknown, where=whole > 0)
    return quotient


def _mean(each: Floats) -> Floats:
    """The mean over the last axis of what is not NaN."""
    known = ~np.isnan(each)
    return _ratio(np.where(known, each, 0).sum(-1), known.sum(-1))


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


def _ranks(values: Floats) -> Floats:
    """Ranks from 1, equal values at the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def _ladder(values: Floats, groups: Ints, count: int) -> tuple[Floats, Ints]:
    """How many of each group lie below each distinct value, equal ones at half, and its place.

    Shapes (values, groups) and (utterances,): drawn groups times the first give mid-ranks.
    """
    distinct, place = np.unique(values, return_inverse=True)
    at = np.bincount(place * count + groups, minlength=len(distinct) * count)
    at = at.reshape(len(distinct), count)
    return np.cumsum(at, axis=0) - at / 2, place


def _correlation(x: Floats, y: Floats, times: Floats) -> Floats:
    """Pearson's correlation over the last axis of centred values, each counted ``times``."""
    weighted = times * x
    norm = np.sqrt((weighted * x).sum(-1) * (times * y * y).sum(-1))
    return _ratio((weighted * y).sum(-1), norm)
