"""Scores of dimensions and votes, against formulas by hand and a bootstrap by hand."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import pearsonr, spearmanr

from pipeline.ground import files
from pipeline.scoring import comparison, ratings
from pipeline.scoring.scores import Bootstrap, Predictions
from pipeline.splits.valued import UNDECIDED

NAMES = ["arousal", "valence"]


def study(noise: float, speakers: int = 6, seed: int = 0) -> Predictions:
    rng, count = np.random.default_rng(0), 20 * speakers
    truth = rng.normal(4, 1, (count, 2))
    guess = truth + np.random.default_rng(seed + 1).normal(0, noise, truth.shape)
    who = np.arange(count) % speakers
    return Predictions(
        utterance=np.array([f"u{n:03d}" for n in range(count)]),
        corpus=np.full(count, "toy"),
        speaker=np.array([f"s{n}" for n in who]),
        fold=who % 2,
        truth=truth,
        guess=guess,
    )


def concordance(x: np.ndarray, y: np.ndarray) -> float:
    """Lin, 1989, equation 2."""
    covariance = np.mean((x - x.mean()) * (y - y.mean()))
    return float(2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))


def test_dimensions_are_pooled_and_each_has_its_own_scores() -> None:
    tested = study(0.7)
    found = ratings.dimensions(tested, NAMES, Bootstrap(300, 1))
    each = [concordance(*pair) for pair in zip(tested.truth.T, tested.guess.T, strict=True)]
    assert found["ccc"] == pytest.approx(np.mean(each), abs=1e-4)
    assert found["of"]["valence"]["ccc"] == pytest.approx(each[1], abs=1e-4)
    pairs = list(zip(tested.truth.T, tested.guess.T, strict=True))
    assert found["pearson"] == pytest.approx(np.mean([pearsonr(*p)[0] for p in pairs]), abs=1e-4)
    assert found["rho"] == pytest.approx(np.mean([spearmanr(*p)[0] for p in pairs]), abs=1e-4)
    squares = [1 - ((x - y) ** 2).sum() / ((x - x.mean()) ** 2).sum() for x, y in pairs]
    assert found["r2"] == pytest.approx(np.mean(squares), abs=1e-4)
    assert found["mae"] == pytest.approx(np.abs(tested.truth - tested.guess).mean(), abs=1e-4)
    by_fold = [
        np.mean([concordance(tested.truth[rows, k], tested.guess[rows, k]) for k in (0, 1)])
        for rows in (tested.fold == 0, tested.fold == 1)
    ]
    assert found["ccc_mean"] == pytest.approx(np.mean(by_fold), abs=1e-4)
    assert found["ccc_sd"] == pytest.approx(np.std(by_fold, ddof=1), abs=1e-4)
    assert (found["utterances"], found["speakers"], found["folds"]) == (120, 6, 2)


def test_the_interval_draws_speakers() -> None:
    tested = study(1.0)
    found = ratings.dimensions(tested, NAMES, Bootstrap(3000, 1))
    rng, names, drawn = np.random.default_rng(5), np.unique(tested.speaker), []
    for _ in range(1500):
        picked = rng.choice(names, len(names))
        rows = np.concatenate([np.flatnonzero(tested.speaker == name) for name in picked])
        one = [concordance(tested.truth[rows, k], tested.guess[rows, k]) for k in (0, 1)]
        drawn.append(np.mean(one))
    assert (found["ccc_low"], found["ccc_high"]) == pytest.approx(
        tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.02
    )
    few = ratings.dimensions(study(1.0, speakers=4), NAMES, Bootstrap(300, 1))
    assert "ccc_low" not in few and "ccc" in few


def test_masked_utterances_are_not_scored(tmp_path: Path) -> None:
    header = ["utterance", "corpus", "speaker", "role"]
    header += [f"{kind}_{name}" for name in NAMES for kind in ("true", "predicted")]
    known = [[f"toy/{n}", "toy", "", "test", n / 8, 0.5 + n / 9, 1 - n / 8, 0.2] for n in range(4)]
    masked = [["toy/x", "toy", "", "test", "", 0.1, "", 0.1], ["toy/y", *known[0][1:6], "", 0.1]]
    path = tmp_path / "predictions.csv"
    files.write_csv(path, header, [*known, *masked])
    tested = ratings.read_dimensions({0: path}, NAMES)
    assert tested.utterance.tolist() == [row[0] for row in known]
    assert ratings.dimensions(tested, NAMES, Bootstrap(300, 1))["of"]["arousal"]["rho"] == 1
    files.write_csv(path, header, masked)
    nothing = ratings.read_dimensions({0: path}, NAMES)
    found = ratings.dimensions(nothing, NAMES, Bootstrap(300, 1))
    assert found["utterances"] == 0 and "rho" not in found


def test_a_constant_prediction_counts_as_nothing() -> None:
    tested = study(0.0)
    tested.guess[:, 1] = 4.0
    found = ratings.dimensions(tested, NAMES, Bootstrap(300, 1))
    assert found["of"]["arousal"]["ccc"] == 1 and found["of"]["valence"]["ccc"] == 0
    assert found["ccc"] == 0.5


def test_votes_are_scored_on_the_decided_and_as_distributions() -> None:
    tested = study(0.0)
    rng = np.random.default_rng(3)
    shares, logits = rng.dirichlet(np.ones(3), 120), rng.normal(0, 1, (120, 3))
    truth = shares.argmax(1)
    truth[:15] = UNDECIDED
    tested = Predictions(
        tested.utterance, tested.corpus, tested.speaker, tested.fold, truth, logits
    )
    found = ratings.votes(tested, shares, ["a", "b", "c"], Bootstrap(300, 1))
    guess = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    peer = [jensenshannon(*pair, base=2) ** 2 for pair in zip(shares, guess, strict=True)]
    assert found["js"] == pytest.approx(np.mean(peer), abs=1e-4)
    assert found["cross_entropy"] == pytest.approx(
        -(shares * np.log(guess)).sum(1).mean(), abs=1e-4
    )
    hits = (logits.argmax(1) == truth)[15:]
    assert found["war"] == pytest.approx(hits.mean(), abs=1e-4)
    assert (found["utterances"], found["undecided"]) == (120, 15)
    assert found["js_low"] < found["js"] < found["js_high"]


def test_a_better_system_is_better_in_the_paired_test_and_none_beats_itself() -> None:
    near, far = study(0.3, seed=1), study(1.5, seed=2)
    found = comparison.compare_dimensions([far], [near], Bootstrap(400, 1))
    assert found.ccc_b > found.ccc_a and found.exact
    assert found.p == pytest.approx(2 / 2**6)  # none of the 64 swaps but it and its mirror
    assert found.interval is not None and found.interval[0] > 0
    assert found.ccc_a == pytest.approx(
        np.mean([concordance(far.truth[:, k], far.guess[:, k]) for k in (0, 1)])
    )
    same = comparison.compare_dimensions([near], [near], Bootstrap(400, 1))
    assert same.p == 1 and same.ccc_a == same.ccc_b


def test_what_training_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    header = ["utterance", "corpus", "speaker", "role"]
    files.write_csv(
        path,
        [*header, "true_arousal", "predicted_arousal"],
        [["u", "c", "s", "test", 1.5, 2.5], ["v", "c", "s", "dev", 9, 9]],
    )
    found = ratings.read_dimensions({3: path}, ["arousal"])
    assert (found.truth.tolist(), found.guess.tolist(), found.fold.tolist()) == (
        [[1.5]], [[2.5]], [3]
    )  # fmt: skip
    files.write_csv(
        path,
        [*header, "label", "true_a", "true_b", "a", "b"],
        [["u", "c", "s", "test", "", 0.5, 0.5, 1, 2], ["v", "c", "", "test", "b", 0, 1, 1, 2]],
    )
    tested, shares = ratings.read_votes({0: path}, ["a", "b"])
    assert tested.truth.tolist() == [UNDECIDED, 1] and shares.tolist() == [[0.5, 0.5], [0, 1]]
