"""Whether one classifier is better than another on the same test utterances.

Both have judged every utterance, so the test is paired, and speakers are the independent units:
the interval resamples them, and the p-value flips the sign of their contributions. A classifier
that was trained with several seeds counts with the mean of its confusions: every seed has judged
the same utterances, so the UAR of that mean is the mean UAR.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.ground.errors import PipelineError
from pipeline.metrics import agreement, recalls, resampling
from pipeline.metrics.arrays import Floats
from pipeline.scoring.scores import Bootstrap, Predictions

EXACT_SPEAKERS = 16  # up to which all sign flips are counted; above, DRAWS random ones
DRAWS = 20_000


@dataclass(frozen=True)
class Concordances:
    """Mean CCC of both, as `Comparison` has UAR, and of each dimension."""

    ccc_a: float
    ccc_b: float
    interval: tuple[float, float] | None
    p: float | None
    exact: bool
    speakers: int
    utterances: int
    each_a: Sequence[float]
    each_b: Sequence[float]


@dataclass(frozen=True)
class Comparison:
    """UAR of both, the difference B - A with its 95 % interval and p-value, recalls by class.

    Interval and p-value are None below five speakers. ``seeds_a`` and ``seeds_b`` are the UAR of
    each seed.
    """

    uar_a: float
    uar_b: float
    interval: tuple[float, float] | None
    p: float | None
    exact: bool
    speakers: int
    utterances: int
    recall_a: Floats
    recall_b: Floats
    seeds_a: Sequence[float]
    seeds_b: Sequence[float]


def compare(
    a: Sequence[Predictions], b: Sequence[Predictions], classes: int, bootstrap: Bootstrap
) -> Comparison:
    """Compare two classifiers, each with one or more seeds.

    Raises:
        PipelineError: They were not tested on the same utterances with the same labels.
    """
    a, b = [_sorted(one) for one in a], [_sorted(one) for one in b]
    for other in (*a, *b):
        _require_same(a[0], other)
    count, _ = a[0].speakers()
    each_a, each_b = ([_by_speaker(one, classes) for one in group] for group in (a, b))
    counts_a, counts_b = np.mean(each_a, 0), np.mean(each_b, 0)
    pooled_a, pooled_b = counts_a.sum(0), counts_b.sum(0)
    weights = bootstrap.weights(count)
    interval = p = None
    if weights is not None:
        drawn = [recalls.uar(np.tensordot(weights, c, 1)) for c in (counts_a, counts_b)]
        interval = resampling.interval(drawn[1] - drawn[0])
        p = sign_flip(_contributions(counts_b - counts_a, pooled_a), bootstrap.seed)
    return Comparison(
        uar_a=float(recalls.uar(pooled_a)),
        uar_b=float(recalls.uar(pooled_b)),
        interval=interval,
        p=p,
        exact=count <= EXACT_SPEAKERS,
        speakers=count,
        utterances=len(a[0].truth),
        recall_a=recalls.recalls(pooled_a),
        recall_b=recalls.recalls(pooled_b),
        seeds_a=[float(recalls.uar(counts.sum(0))) for counts in each_a],
        seeds_b=[float(recalls.uar(counts.sum(0))) for counts in each_b],
    )


def compare_dimensions(
    a: Sequence[Predictions], b: Sequence[Predictions], bootstrap: Bootstrap
) -> Concordances:
    """Compare two systems that predict dimensions, each with one or more seeds.

    CCC is no sum over speakers: the test swaps both systems' predictions of speakers, and measures
    anew. Seeds are pooled: the CCC is that of all their predictions.

    Raises:
        PipelineError: They were not tested on the same utterances with the same ratings.
    """
    a, b = [_sorted(one) for one in a], [_sorted(one) for one in b]
    for other in (*a, *b):
        _require_same(a[0], other)
    count, who = a[0].speakers()
    sides = [[(one.truth, one.guess) for one in group] for group in (a, b)]
    groups = np.concatenate([np.tile(who, len(a)), count + np.tile(who, len(b))])
    truth, guess = (np.concatenate([one[k] for side in sides for one in side]) for k in (0, 1))

    def measured(weights: Floats) -> Floats:
        """The CCC of each dimension, (draws, dimensions), of what (draws, 2 speakers) holds."""
        pairs = zip(truth.T, guess.T, strict=True)
        found = [agreement.concordance_resamples(*pair, groups, weights) for pair in pairs]
        return np.nan_to_num(np.stack(found, 1))

    ones, none = np.ones((1, count)), np.zeros((1, count))
    each = [measured(np.concatenate(one, 1))[0] for one in ((ones, none), (none, ones))]
    weights = bootstrap.weights(count)
    interval = p = None
    if weights is not None:
        zeros = np.zeros_like(weights)
        drawn = [measured(np.concatenate(one, 1)) for one in ((weights, zeros), (zeros, weights))]
        interval = resampling.interval((drawn[1] - drawn[0]).mean(1))
        bits, observed = _swaps(count, bootstrap.seed)
        swapped = [measured(np.concatenate(one, 1)) for one in ((1 - bits, bits), (bits, 1 - bits))]
        apart = np.abs((swapped[1] - swapped[0]).mean(1))
        extreme = int((apart >= abs((each[1] - each[0]).mean()) - 1e-12).sum())
        p = (extreme + observed) / (len(bits) + observed)
    return Concordances(
        ccc_a=float(each[0].mean()),
        ccc_b=float(each[1].mean()),
        interval=interval,
        p=p,
        exact=count <= EXACT_SPEAKERS,
        speakers=count,
        utterances=len(a[0].truth),
        each_a=each[0].tolist(),
        each_b=each[1].tolist(),
    )


def _swaps(count: int, seed: int) -> tuple[Floats, int]:
    """Which speakers are swapped, (swaps, speakers), and how many swaps are observed besides.

    All 2^speakers of them, or `DRAWS` random ones and the one observed.
    """
    if count <= EXACT_SPEAKERS:
        return (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(np.float64), 0
    drawn = np.random.default_rng(seed).integers(0, 2, (DRAWS, count))
    return drawn.astype(np.float64), 1


def sign_flip(contributions: Floats, seed: int) -> float:
    """Two-sided p that the sum of ``contributions`` (speakers,) is this far from 0 by chance.

    Were both classifiers alike, swapping their predictions on any speaker would be as likely: all
    2^speakers swaps are counted, or `DRAWS` random ones and the observed one.
    """
    bits, observed = _swaps(len(contributions), seed)
    sums = np.abs((1 - 2 * bits) @ contributions)
    extreme = int((sums >= abs(contributions.sum()) - 1e-12).sum())
    return (extreme + observed) / (len(bits) + observed)


def _require_same(a: Predictions, b: Predictions) -> None:
    if not (np.array_equal(a.utterance, b.utterance) and np.array_equal(a.truth, b.truth)):
        raise PipelineError(
            f"compare: the experiments test {len(a.truth)} and {len(b.truth)} utterances that are "
            "not the same or not labelled alike, give both the same corpora, split, folds and task"
        )


def _contributions(difference: Floats, pooled: Floats) -> Floats:
    """What each speaker adds to the difference in UAR, (speakers,): it is linear in the hits."""
    truth = pooled.sum(1)
    present = truth > 0
    hits = np.diagonal(difference, axis1=1, axis2=2)[:, present]
    added: Floats = (hits / truth[present]).mean(1)
    return added


def _by_speaker(tested: Predictions, classes: int) -> Floats:
    """Confusions of each speaker, (speakers, classes, classes)."""
    count, who = tested.speakers()
    guess = tested.guess.argmax(1)
    each = [
        recalls.confusion(tested.truth[who == s], guess[who == s], classes) for s in range(count)
    ]
    return np.stack(each).astype(np.float64)


def _sorted(tested: Predictions) -> Predictions:
    order: Sequence[int] = np.lexsort((tested.fold, tested.utterance)).tolist()
    return tested.of(np.array(order))
