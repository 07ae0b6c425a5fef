"""Metrics against scikit-learn, SciPy, formulas by hand, and a paper's own tables."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import bootstrap, spearmanr
from sklearn import metrics as peer

from pipeline.metrics import correlation, eer, recalls, resampling

# "Efficient Fine-Tuning Approaches on HuBERT for Speech Emotion Recognition on Multiple Labels":
# the row percentages of tables 4 to 6, and table 3. Row sizes are the smallest ones that give
# these percentages: a fifth of table 2.
ROW_SIZES = (365, 39, 398, 399, 377, 318, 393, 143)
TABLE_4 = """
96.99 0 1.10 1.10 0.55 0.27 0 0
0 89.74 0 0 0 10.26 0 0
4.77 0 82.16 2.51 3.77 2.01 4.52 0.25
2.01 0 2.76 76.94 6.52 2.76 8.02 1.00
2.65 0.27 0.53 1.86 90.45 3.71 0.27 0.27
0.31 0 0 0 1.57 98.11 0 0
0.76 0 3.82 9.41 1.53 13.23 71.25 0
0.70 0 0 0 2.80 0 0 96.50
"""
TABLE_5 = """
92.88 0 1.64 0.27 1.92 1.37 0 1.92
0 84.62 0 0 0 0 15.38 0
9.30 1.26 64.57 0.75 2.51 16.33 3.27 2.01
5.01 0.75 2.01 42.86 17.54 15.54 13.78 2.51
11.67 2.92 2.12 2.65 59.42 13.26 1.59 6.37
1.57 7.55 0 0 0.94 88.99 0.94 0
1.02 4.83 3.05 2.54 1.78 35.62 49.87 1.27
1.40 0.70 0.70 0 4.90 1.40 0 90.91
"""
TABLE_6 = """
84.38 0 3.84 0.82 1.64 8.77 0.27 0.27
0 92.31 0 0 0 2.56 5.13 0
14.82 2.01 38.44 1.26 0.75 23.87 18.09 0.75
15.29 1.25 1.75 20.05 8.52 24.56 27.82 0.75
29.71 4.77 11.94 3.98 4.51 33.69 6.37 5.04
1.26 7.23 0.31 0.31 0 87.11 3.77 0
0.51 5.34 2.80 3.31 0.76 46.31 40.97 0
24.48 8.39 10.49 2.80 0.70 16.08 0 37.06
"""
PUBLISHED = {  # F1, EER and accuracy of table 3; UAR and macro F1 follow from the same tables
    TABLE_4: (0.8610, 0.0713, 0.8610, 0.878, 0.877),
    TABLE_5: (0.6715, 0.164, 0.67146, 0.718, 0.658),
    TABLE_6: (0.4461, 0.2870, 0.4461, 0.506, 0.416),
}


@pytest.mark.parametrize(("table", "published"), PUBLISHED.items(), ids=["full", "qkv", "head"])
def test_table_3_follows_from_tables_4_to_6(table: str, published: tuple[float, ...]) -> None:
    percent = np.array([line.split() for line in table.split("\n") if line], float)
    counts = np.round(percent / 100 * np.array(ROW_SIZES)[:, None]).astype(np.int64)
    assert counts.sum(1).tolist() == list(ROW_SIZES)
    f1, rate, accuracy, uar, macro = published
    assert recalls.war(counts) == pytest.approx(accuracy, abs=1e-4)
    assert recalls.f1(counts)["micro"] == pytest.approx(f1, abs=1e-4)
    assert eer.eer_argmax(counts) == pytest.approx(rate, abs=1e-3)
    assert recalls.uar(counts) == pytest.approx(uar, abs=1e-3)
    assert recalls.f1(counts)["macro"] == pytest.approx(macro, abs=1e-3)


labels = st.integers(2, 60).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(0, 4), min_size=n, max_size=n) for _ in range(2)))
)


@settings(max_examples=60, deadline=None)
@given(labels)
def test_scores_equal_scikit_learn(pair: tuple[list[int], list[int]]) -> None:
    truth, guess = map(np.array, pair)
    counts = recalls.confusion(truth, guess, 5)
    assert np.array_equal(counts, peer.confusion_matrix(truth, guess, labels=range(5)))
    assert recalls.war(counts) == pytest.approx(peer.accuracy_score(truth, guess))
    for average, value in recalls.f1(counts).items():
        expected = peer.f1_score(truth, guess, average=average, zero_division=0)
        assert value == pytest.approx(expected), average
    with warnings.catch_warnings():  # guesses outside the truth
        warnings.simplefilter("ignore", UserWarning)
        assert recalls.uar(counts) == pytest.approx(peer.balanced_accuracy_score(truth, guess))


def test_leading_axes_are_resamples() -> None:
    many = np.random.default_rng(0).integers(0, 5, (7, 3, 4, 4))
    many[0, 0, 2] = 0
    assert np.allclose(recalls.uar(many)[3, 1], recalls.uar(many[3, 1]))
    rows = many[0, 0][[0, 1, 3]]
    by_hand = np.mean([rows[i, j] / rows[i].sum() for i, j in enumerate((0, 1, 3))])
    assert recalls.uar(many)[0, 0] == pytest.approx(by_hand)


def peer_eer(truth: NDArray[np.int64], logits: NDArray[np.float64]) -> float:
    """The crossing of the ROC curve of scikit-learn with the diagonal, by bisection."""
    rates = []
    posteriors = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for c in np.unique(truth):
        fpr, tpr, _ = peer.roc_curve(truth == c, posteriors[:, c], drop_intermediate=False)
        s = np.linspace(0, len(fpr) - 1, 200_001)  # along the curve
        gap = np.interp(s, range(len(fpr)), fpr) - (1 - np.interp(s, range(len(fpr)), tpr))
        rates.append(np.interp(s[np.abs(gap).argmin()], range(len(fpr)), fpr))
    return float(np.mean(rates))


def test_eer_is_where_the_roc_curve_crosses_the_diagonal() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 4, 300)
    logits = rng.normal(0, 1, (300, 5))
    logits[np.arange(300), truth] += 1.5
    logits = np.round(logits, 1)  # with ties
    assert eer.eer(truth, logits) == pytest.approx(peer_eer(truth, logits), abs=1e-3)


@pytest.mark.parametrize(
    ("scores", "expected"), [([3.0, 2.0, 1.0, 0.0], 0.0), ([0.0, 0.0, 0.0, 0.0], 0.5)]
)
def test_eer_of_a_perfect_and_of_a_blind_detector(scores: list[float], expected: float) -> None:
    logits = np.stack([np.array(scores), -np.array(scores) + 3 * bool(scores[0])], axis=1)
    assert eer.eer(np.array([0, 0, 1, 1]), logits) == pytest.approx(expected)


def test_eer_of_one_class_is_unknown() -> None:
    assert math.isnan(eer.eer(np.zeros(3, np.int64), np.zeros((3, 2))))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=40))
def test_spearman_equals_scipy(pairs: list[tuple[int, int]]) -> None:
    truth, guess = np.array(pairs, float).T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant input
        expected = spearmanr(truth, guess).statistic
    assert correlation.spearman(truth, guess) == pytest.approx(expected, nan_ok=True)


def test_resampled_rho_equals_scipy_on_the_repeated_utterances() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 6, 80)
    truth = rng.integers(0, 8, 80) / 8
    guess = truth + rng.normal(0, 0.4, 80)
    weights = resampling.resample(6, 200, rng)
    rhos = correlation.spearman_resamples(truth, guess, groups, weights)
    for drawn, rho in zip(weights, rhos, strict=True):
        rows = np.repeat(np.arange(80), drawn[groups].astype(int))
        assert rho == pytest.approx(spearmanr(truth[rows], guess[rows]).statistic)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=40))
def test_r_squared_equals_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, guess = np.array(pairs, float).T / 6
    expected = peer.r2_score(truth, guess) if len(set(truth)) > 1 else math.nan
    assert correlation.r_squared(truth, guess) == pytest.approx(expected, nan_ok=True)


def test_resampled_r_squared_equals_scikit_learn_on_the_repeated_utterances() -> None:
    rng = np.random.default_rng(2)
    groups = rng.integers(0, 6, 80)
    truth = rng.uniform(0, 1, 80)
    guess = truth + rng.normal(0, 0.4, 80)
    weights = resampling.resample(6, 50, rng)
    found = correlation.r_squared_resamples(truth, guess, groups, weights)
    for drawn, squared in zip(weights, found, strict=True):
        rows = np.repeat(np.arange(80), drawn[groups].astype(int))
        assert squared == pytest.approx(peer.r2_score(truth[rows], guess[rows]))


def test_the_interval_of_rho_is_that_of_scipy_s_bootstrap_over_speakers() -> None:
    """The same statistic over resampled speakers, drawn and ranked by SciPy."""
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(20), 6)
    truth = rng.uniform(0, 1, 120)
    guess = truth + rng.normal(0, 0.3, 120) + rng.normal(0, 0.4, 20)[groups]

    def rho(*speakers: NDArray[np.int64]) -> float:
        rows = (np.concatenate(speakers)[:, None] * 6 + np.arange(6)).ravel()
        return float(spearmanr(truth[rows], guess[rows]).statistic)

    expected = bootstrap(
        (np.arange(20),), rho, n_resamples=2000, vectorized=False, method="percentile", rng=5
    ).confidence_interval
    weights = resampling.resample(20, 2000, np.random.default_rng(6))
    low, high = resampling.interval(correlation.spearman_resamples(truth, guess, groups, weights))
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.03)


def test_a_resample_draws_as_many_groups_and_follows_the_seed() -> None:
    one, two = (resampling.resample(12, 300, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one, two)
    assert (one.sum(1) == 12).all()
    assert one.mean(0) == pytest.approx(np.ones(12), abs=0.25)


def test_the_interval_covers_the_true_mean_about_95_times_in_100() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        sample = rng.normal(2.0, 1.0, 40)
        means = resampling.resample(40, 400, rng) @ sample / 40
        low, high = resampling.interval(means)
        covered += low <= 2.0 <= high
    assert 0.89 < covered / 300 < 0.985
