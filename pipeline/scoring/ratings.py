"""Scores of dimensions and of votes, pooled over the folds, with intervals over speakers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.metrics import agreement, correlation, distributions, resampling
from pipeline.metrics.arrays import Floats, Ints
from pipeline.scoring import scores
from pipeline.scoring.scores import Bootstrap, Predictions, Scores
from pipeline.splits.valued import UNDECIDED

# By name: the score of one dimension, and of its resamples.
One = Callable[[Floats, Floats], float]
Resampled = Callable[[Floats, Floats, Ints, Floats], Floats]
MEASURES: Mapping[str, tuple[One, Resampled]] = {
    "ccc": (agreement.concordance, agreement.concordance_resamples),
    "pearson": (agreement.pearson, agreement.pearson_resamples),
    "rho": (correlation.spearman, correlation.spearman_resamples),
    "r2": (correlation.r_squared, correlation.r_squared_resamples),
    "mae": (agreement.mae, agreement.mae_resamples),
}


def read_dimensions(
    paths: Mapping[int, Path], names: Sequence[str], role: str = "test"
) -> Predictions:
    """The predictions of one system, by fold: ``truth`` and ``guess`` are (utterances, names).

    What is masked, or unknown in part, is left out: nothing tells how good it is.

    Raises:
        PipelineError: A file is missing or damaged, or lacks a dimension.
    """
    parts = []
    for fold, path in paths.items():
        kinds = ([f"{kind}_{name}" for name in names] for kind in ("true", "predicted"))
        true, predicted = kinds
        rows = scores.rows_of(path, [*scores.UNNAMED[:4], *true, *predicted], role)
        truth, guess = (scores.numbers(path, rows, columns) for columns in (true, predicted))
        known = np.isfinite(truth).all(1)
        parts.append(scores.of_rows(path, fold, rows, truth, guess).of(np.asarray(known)))
    return scores.joined(parts)


def read_votes(
    paths: Mapping[int, Path], classes: Sequence[str], role: str = "test"
) -> tuple[Predictions, Floats]:
    """As `scores.read_classifier`, and the true shares of votes, (utterances, classes).

    ``truth`` is `UNDECIDED` where several classes have the most votes.
    """
    parts, shares = [], []
    for fold, path in paths.items():
        true = [f"true_{name}" for name in classes]
        rows = scores.rows_of(path, [*scores.UNNAMED, *true, *classes], role)
        index = {"": UNDECIDED} | {name: row for row, name in enumerate(classes)}
        truth = np.array([index.get(row["label"], UNDECIDED) for row in rows], np.int64)
        guess = scores.numbers(path, rows, classes)
        parts.append(scores.of_rows(path, fold, rows, truth, guess))
        shares.append(scores.numbers(path, rows, true))
    return scores.joined(parts), np.concatenate(shares)


def dimensions(tested: Predictions, names: Sequence[str], bootstrap: Bootstrap) -> Scores:
    """Concordance, Pearson's r, Spearman's rho, R² and mean absolute error: means, and each.

    They pool the folds' test utterances; ``ccc_mean`` and ``ccc_sd`` alone are over folds. What is
    undefined (a correlation of a constant) counts as 0; of fewer than two utterances nothing is.
    """
    count, who = tested.speakers()
    sizes = {"utterances": len(tested.truth), "speakers": count}
    if len(tested.truth) < 2:
        return {**sizes, "folds": len(np.unique(tested.fold)), "of": {name: {} for name in names}}
    weights = bootstrap.weights(count)
    found: Scores = {}
    each: dict[str, Scores] = {name: {} for name in names}
    for measure, (one, resampled) in MEASURES.items():
        pairs = list(zip(tested.truth.T, tested.guess.T, strict=True))
        values = np.nan_to_num([one(*pair) for pair in pairs])
        drawn = []
        for name, value, pair in zip(names, values, pairs, strict=True):
            each[name][measure] = float(value)
            if weights is not None:
                drawn.append(np.nan_to_num(resampled(*pair, who, weights)))
                each[name] |= _interval(measure, drawn[-1])
        found[measure] = float(values.mean())
        found |= _interval(measure, np.mean(drawn, 0)) if drawn else {}
    by_fold = [mean_concordance(tested.of(tested.fold == k)) for k in np.unique(tested.fold)]
    found |= {
        "ccc_mean": float(np.mean(by_fold)),
        "ccc_sd": float(np.std(by_fold, ddof=1)) if len(by_fold) > 1 else float("nan"),
    }
    own = {name: scores.rounded(one) for name, one in each.items()}
    return {**scores.rounded(found), **sizes, "folds": len(by_fold), "of": own}


def by_speaker(tested: Predictions) -> dict[str, tuple[int, float]]:
    """Each speaker's utterances and mean concordance."""
    names = sorted(set(tested.speaker.tolist()))
    parts = {name: tested.of(tested.speaker == name) for name in names}
    return {name: (len(part.truth), mean_concordance(part)) for name, part in parts.items()}


def votes(
    tested: Predictions, shares: Floats, classes: Sequence[str], bootstrap: Bootstrap
) -> Scores:
    """Scores on the consensus, as of classes, and of the distributions of all utterances.

    ``js`` is the Jensen-Shannon divergence in bits, ``cross_entropy`` is in nats; both are means
    over utterances.
    """
    decided = tested.truth != UNDECIDED
    found = scores.classification(tested.of(decided), classes, bootstrap) if decided.any() else {}
    guess = np.exp(tested.guess - np.logaddexp.reduce(tested.guess, axis=1, keepdims=True))
    guess = np.maximum(guess, np.finfo(np.float64).tiny)  # none is impossible
    each = {
        "js": distributions.jensen_shannon(shares, guess),
        "cross_entropy": distributions.cross_entropy(shares, guess),
    }
    count, who = tested.speakers()
    weights = bootstrap.weights(count)
    told: Scores = {}
    for name, values in each.items():
        told[name] = float(values.mean())
        if weights is not None:
            sums = weights @ np.bincount(who, values, count)
            told |= _interval(name, sums / (weights @ np.bincount(who, minlength=count)))
    sizes = {"utterances": len(shares), "undecided": int((~decided).sum()), "speakers": count}
    return {**found, **scores.rounded(told), **sizes, "folds": len(np.unique(tested.fold))}


def mean_concordance(tested: Predictions) -> float:
    """The mean over the dimensions; one that is undefined counts as 0."""
    pairs = zip(tested.truth.T, tested.guess.T, strict=True)
    return float(np.nan_to_num([agreement.concordance(*pair) for pair in pairs]).mean())


def _interval(name: str, drawn: Floats) -> Scores:
    low, high = resampling.interval(drawn)
    return {f"{name}_low": low, f"{name}_high": high}
