"""Scores of predictions of known skill: pooling, intervals, protocol, and what must not count."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import balanced_accuracy_score, r2_score

from pipeline.corpora.manifest import EMOTIONS
from pipeline.ground.errors import PipelineError
from pipeline.scoring import ratings, scores
from pipeline.scoring.scores import Bootstrap
from tests.results import SHARES, Study, plant_classifier, plant_share

BOOTSTRAP = Bootstrap(resamples=400, seed=1)
CLASSES = list(EMOTIONS)


def classifier(root: Path, study: Study, skill: float = 1.0, seed: int = 0) -> scores.Predictions:
    plant_classifier(root, study, "fbank/linear", skill, seed)
    folder = root / "artifacts/classifiers/emotion/fbank/linear"
    paths = {fold: folder / str(fold) / "predictions.csv" for fold in range(study.folds)}
    return scores.read_classifier(paths, CLASSES)


def test_folds_are_pooled_and_dev_never_counts(tmp_path: Path) -> None:
    study = Study(folds=4)
    tested = classifier(tmp_path, study)
    assert len(tested.truth) == 128  # each once, of its own fold
    found = scores.classification(tested, CLASSES, BOOTSTRAP)
    guess = tested.guess.argmax(1)
    assert found["uar"] == round(balanced_accuracy_score(tested.truth, guess), 4)
    each = [
        balanced_accuracy_score(tested.truth[tested.fold == k], guess[tested.fold == k])
        for k in range(4)
    ]
    assert found["uar_mean"] == round(np.mean(each), 4)
    assert found["uar_sd"] == round(np.std(each, ddof=1), 4)
    assert (found["utterances"], found["speakers"], found["folds"]) == (128, 8, 4)
    assert found["uar"] < 0.8  # the planted dev predictions are perfect


def test_the_interval_is_that_of_speakers_drawn_with_replacement(tmp_path: Path) -> None:
    """Against a bootstrap by hand that concatenates the drawn speakers' utterances."""
    tested = classifier(tmp_path, Study(speakers=6, utterances=96))
    found = scores.classification(tested, CLASSES, Bootstrap(4000, 3))
    rng = np.random.default_rng(0)
    guess, names = tested.guess.argmax(1), np.unique(tested.speaker)
    drawn = []
    for _ in range(2000):
        picked = rng.choice(names, len(names))
        rows = np.concatenate([np.flatnonzero(tested.speaker == name) for name in picked])
        drawn.append(balanced_accuracy_score(tested.truth[rows], guess[rows]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert found["uar_low"] == pytest.approx(low, abs=0.015)
    assert found["uar_high"] == pytest.approx(high, abs=0.015)


def test_the_same_seed_gives_the_same_interval(tmp_path: Path) -> None:
    tested = classifier(tmp_path, Study())
    one, two = (scores.classification(tested, CLASSES, Bootstrap(300, 5)) for _ in range(2))
    assert one == two


def test_below_five_speakers_there_is_no_interval(tmp_path: Path) -> None:
    tested = classifier(tmp_path, Study(speakers=4, utterances=64))
    found = scores.classification(tested, CLASSES, BOOTSTRAP)
    assert "uar" in found and "uar_low" not in found and "uar_high" not in found


def test_a_better_model_scores_better(tmp_path: Path) -> None:
    study = Study(utterances=400)
    found = [
        scores.classification(classifier(tmp_path, study, skill), CLASSES, BOOTSTRAP)
        for skill in (0.0, 1.0, 2.0)
    ]
    assert [f["uar"] for f in found] == sorted(f["uar"] for f in found)
    assert [f["eer"] for f in found] == sorted((f["eer"] for f in found), reverse=True)
    assert found[0]["uar"] == pytest.approx(1 / 8, abs=0.06)
    assert found[0]["eer"] == pytest.approx(0.5, abs=0.06)


def test_corpora_are_scored_apart(tmp_path: Path) -> None:
    study = Study(corpora=("a", "b"), utterances=64)
    tested = classifier(tmp_path, study)
    parts = scores.by_corpus(tested)
    assert {name: rows.sum() for name, rows in parts.items()} == {"a": 64, "b": 64}
    assert tested.of(parts["a"]).speakers()[0] == 8 and tested.speakers()[0] == 16
    assert scores.by_corpus(tested.of(parts["a"])) == {}


def test_rho_is_the_mean_over_emotions_and_a_constant_counts_as_zero(tmp_path: Path) -> None:
    plant_share(tmp_path, Study(speakers=12, utterances=240), "fbank/head")
    path = tmp_path / "artifacts/classifiers/share/fbank/head/0/predictions.csv"
    tested = ratings.read_dimensions({0: path}, SHARES)
    found = ratings.dimensions(tested, SHARES, BOOTSTRAP)
    columns = zip(tested.truth.T[:-1], tested.guess.T[:-1], strict=True)
    each = [spearmanr(t, g).statistic for t, g in columns]
    assert found["rho"] == round(sum(each) / len(SHARES), 4)
    assert found["of"][SHARES[-1]]["rho"] == 0
    assert found["rho_low"] < found["rho"] < found["rho_high"]
    assert found["r2"] == round(r2_score(tested.truth, tested.guess), 4)
    assert found["r2_low"] < found["r2"] < found["r2_high"]
    assert (found["utterances"], found["speakers"]) == (120, 6)


def test_the_curve_of_models_that_trained_together_is_their_mean(tmp_path: Path) -> None:
    plant_share(tmp_path, Study(), "fbank/head")
    curve = scores.read_history(tmp_path / "artifacts/classifiers/share/fbank/head/0/history.csv")
    np.testing.assert_allclose(curve["train_loss"], [0.2, 0.05])
    np.testing.assert_allclose(curve["dev_loss"], [0.3, 0.15])


def test_speaker_independence_is_seen_in_the_folds() -> None:
    study = Study(utterances=32)
    clips = study.clips()
    apart = {c.clip: "test" if study.fold(c) == 0 else "dev" for c in clips}
    assert scores.speaker_independent(clips, [apart])
    shared = {**apart, clips[0].clip: "train"}
    assert not scores.speaker_independent(clips, [apart, shared])


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("angry,calm", "angry,quiet", "no column 'calm'"),
        (",test,angry,", ",test,bored,", "label 'bored' is none of task.classes"),
        (",test,angry,", ",test,angry,x", "damaged"),
        (",test,", ",dev,", "no test utterance"),
        (",test,angry,", ",test,angry,nan", "not a number"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, old: str, new: str, rule: str) -> None:
    classifier(tmp_path, Study(utterances=16, speakers=8))
    path = tmp_path / "artifacts/classifiers/emotion/fbank/linear/0/predictions.csv"
    text = path.read_text()
    assert old in text
    if new.endswith(("x", "nan")):  # instead of the first logit
        head, tail = text.split(old, 1)
        path.write_text(head + new + tail[tail.index(",") :])
    else:
        path.write_text(text.replace(old, new))
    with pytest.raises(PipelineError, match=rule) as error:
        scores.read_classifier({0: path}, CLASSES)
    assert "\n" not in str(error.value)


def test_a_missing_file_names_itself(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"predictions\.csv: no such file"):
        scores.read_classifier({0: tmp_path / "predictions.csv"}, CLASSES)
