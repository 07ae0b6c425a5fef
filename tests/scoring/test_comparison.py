"""The paired test against brute force, symmetry, and its error rate where nothing differs."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import permutation_test

from pipeline.corpora.manifest import EMOTIONS
from pipeline.ground.errors import PipelineError
from pipeline.scoring import comparison, scores
from pipeline.scoring.scores import Bootstrap, Predictions
from tests.results import Study, plant_classifier

BOOTSTRAP = Bootstrap(resamples=500, seed=1)


def classifier(root: Path, study: Study, skill: float, seed: int) -> Predictions:
    plant_classifier(root, study, "fbank/linear", skill, seed)
    folder = root / "artifacts/classifiers/emotion/fbank/linear"
    paths = {fold: folder / str(fold) / "predictions.csv" for fold in range(study.folds)}
    return scores.read_classifier(paths, list(EMOTIONS))


def test_a_better_model_is_found_better_and_the_sign_follows_the_order(tmp_path: Path) -> None:
    weak, strong = (
        classifier(tmp_path, Study(), skill, seed=s) for s, skill in enumerate((0.5, 2))
    )
    found = comparison.compare([weak], [strong], 8, BOOTSTRAP)
    back = comparison.compare([strong], [weak], 8, BOOTSTRAP)
    assert found.uar_b - found.uar_a > 0.2
    assert found.interval and found.interval[0] > 0
    assert found.p == back.p == 2 / 2**8  # every speaker improves
    assert back.interval == pytest.approx((-found.interval[1], -found.interval[0]))


def test_p_counts_every_swap_of_whole_speakers(tmp_path: Path) -> None:
    """By brute force on the predictions themselves: swap A and B on each subset of speakers."""
    study = Study(speakers=6, utterances=48)
    a, b = (classifier(tmp_path, study, 0.8 + 0.6 * s, seed=s) for s in range(2))
    _, who = a.speakers()

    def difference(swapped: tuple[bool, ...]) -> float:
        swap = np.array(swapped)[who][:, None]
        pair = (np.where(swap, b.guess, a.guess), np.where(swap, a.guess, b.guess))
        recalls = [
            np.mean([(g.argmax(1) == a.truth)[a.truth == c].mean() for c in range(8)]) for g in pair
        ]
        return float(recalls[1] - recalls[0])

    observed = abs(difference((False,) * 6))
    extreme = [abs(difference(s)) >= observed - 1e-12 for s in product((False, True), repeat=6)]
    assert comparison.compare([a], [b], 8, BOOTSTRAP).p == np.mean(extreme)


def test_sign_flip_equals_scipy() -> None:
    values = np.random.default_rng(0).normal(0.3, 1, 12)
    peer = permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert comparison.sign_flip(values, seed=1) == pytest.approx(peer.pvalue)


def test_many_speakers_are_sampled_near_the_exact_value(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).normal(0.4, 1, 14)
    exact = comparison.sign_flip(values, seed=1)
    monkeypatch.setattr(comparison, "EXACT_SPEAKERS", 10)
    assert comparison.sign_flip(values, seed=1) == pytest.approx(exact, abs=0.012)


def test_equal_models_are_rarely_found_different() -> None:
    rng = np.random.default_rng(2)
    ps = [comparison.sign_flip(rng.normal(0, 1, 8), seed=1) for _ in range(400)]
    assert 0.02 < np.mean(np.array(ps) <= 0.05) < 0.08


def test_other_utterances_are_refused(tmp_path: Path) -> None:
    a = classifier(tmp_path, Study(), 1.0, 0)
    b = classifier(tmp_path, Study(utterances=120), 1.0, 0)
    with pytest.raises(PipelineError, match="128 and 120 utterances"):
        comparison.compare([a], [b], 8, BOOTSTRAP)


def test_seeds_are_pooled_by_their_mean(tmp_path: Path) -> None:
    """Equal to stacking the seeds' utterances under other names, where all have one utterance set;
    seeds that differ in number weigh the same."""
    weak = [classifier(tmp_path, Study(), 0.8, seed) for seed in (0, 1)]
    strong = [classifier(tmp_path, Study(), 1.6, seed) for seed in (2, 3)]
    found = comparison.compare(weak, strong, 8, BOOTSTRAP)
    single = [comparison.compare([a], [b], 8, BOOTSTRAP) for a, b in zip(weak, strong, strict=True)]
    assert found.seeds_a == pytest.approx([one.uar_a for one in single])
    assert found.uar_b == pytest.approx(np.mean([one.uar_b for one in single]))
    twice = comparison.compare([*weak, *weak], strong, 8, BOOTSTRAP)
    assert (twice.uar_a, twice.p) == pytest.approx((found.uar_a, found.p))
    assert twice.interval == pytest.approx(found.interval)


def test_seeds_with_other_utterances_are_refused(tmp_path: Path) -> None:
    a = classifier(tmp_path, Study(), 1.0, 0)
    other = classifier(tmp_path, Study(utterances=120), 1.0, 0)
    with pytest.raises(PipelineError, match="128 and 120 utterances"):
        comparison.compare([a], [a, other], 8, BOOTSTRAP)


def test_below_five_speakers_there_is_no_test(tmp_path: Path) -> None:
    study = Study(speakers=4, utterances=64)
    a, b = (classifier(tmp_path, study, 1.0, seed) for seed in range(2))
    found = comparison.compare([a], [b], 8, BOOTSTRAP)
    assert found.p is None and found.interval is None
