"""Ensembles on planted predictions, against NumPy by hand."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score

from pipeline.corpora.manifest import EMOTIONS
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.methods import calibration
from pipeline.scoring import comparison, evaluation
from pipeline.scoring.active import Ensemble, System
from pipeline.scoring.believe import fused, members
from pipeline.scoring.scores import Bootstrap
from pipeline.splits.targets import Task, Votes
from pipeline.splits.valued import Dimensions
from tests.results import TASK, Study, plant, plant_classifier, plant_ratings

STUDY, DRAWN = Study(), Bootstrap(200, 1)
NAMES = ["emotion/fbank/linear", "emotion/pretrained/full"]
ROW: System = ("emotion", "ensemble", "both")
FOLDS = [0, 1]


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    plant(tmp_path, STUDY)
    for seed, name in enumerate(NAMES):
        plant_classifier(tmp_path, STUDY, name.removeprefix("emotion/"), 1.0, seed)
        for fold in FOLDS:
            weaken_dev(folder(name, fold), seed)
            calibration.write(folder(name, fold), TASK)
    return tmp_path


def folder(name: str, fold: int) -> Path:
    return Path("artifacts/classifiers") / name / str(fold)


def rows(name: str, fold: int) -> list[dict[str, str]]:
    return files.read_csv(folder(name, fold) / "predictions.csv")


def rewrite(place: Path, found: Sequence[dict[str, Any]]) -> None:
    table = [list(row.values()) for row in found]
    files.write_csv(place / "predictions.csv", list(found[0]), table)


def weaken_dev(place: Path, seed: int) -> None:
    """Dev as planted is perfect, and tells the members apart by nothing."""
    rng, found = np.random.default_rng(seed), files.read_csv(place / "predictions.csv")
    for row in found:
        if row["role"] == "dev":
            row[row["label"]] = str(float(row[row["label"]]) - 100 + rng.normal(seed, 2))
    rewrite(place, found)


def by_hand(name: str, fold: int, role: str = "test") -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities and truth of one member, in the order of utterances."""
    scale = json.loads((folder(name, fold) / "calibration.json").read_text())["temperature"]
    found = sorted((r for r in rows(name, fold) if r["role"] == role), key=lambda r: r["utterance"])
    logits = np.array([[float(row[e]) for e in EMOTIONS] for row in found])
    return softmax(logits / scale, 1), np.array([EMOTIONS.index(r["label"]) for r in found])


def ensemble(weights: Any = "equal", names: Sequence[str] = NAMES) -> Ensemble:
    return Ensemble(members=list(names), weights=weights)


def scored(one: Ensemble, task: Task = TASK, row: System = ROW) -> evaluation.Classifier:
    systems = dict.fromkeys(one.systems, FOLDS)
    (found,) = fused.score({row: one}, systems, {row[0]: task}, DRAWN)
    return found


def test_the_average_of_calibrated_probabilities_is_scored_like_any_row(planted: Path) -> None:
    found = scored(ensemble())
    parts = [[by_hand(name, fold) for name in NAMES] for fold in FOLDS]
    told = np.concatenate([(a + b) / 2 for (a, _), (b, _) in parts])
    truth = np.concatenate([one for (_, one), _ in parts])
    np.testing.assert_allclose(softmax(found.tested.guess, 1), told, rtol=1e-9)
    expected = balanced_accuracy_score(truth, told.argmax(1))
    assert found.scores["uar"] == pytest.approx(expected, abs=1e-4)
    assert found.scores["uar_low"] < found.scores["uar"] < found.scores["uar_high"]
    assert (found.shown, found.name) == ("emotion ensemble both", "emotion-ensemble-both")
    assert found.scores["ensemble"]["weights"] == {"0": [0.5, 0.5], "1": [0.5, 0.5]}


def test_it_is_tested_against_its_best_member_on_dev(planted: Path) -> None:
    found = scored(ensemble())
    dev = [np.concatenate([by_hand(n, fold, "dev")[0] for fold in FOLDS]) for n in NAMES]
    truth = np.concatenate([by_hand(NAMES[0], fold, "dev")[1] for fold in FOLDS])
    uars = [balanced_accuracy_score(truth, one.argmax(1)) for one in dev]
    told = found.scores["ensemble"]
    assert uars[1] > uars[0] + 0.02  # another seed of `weaken_dev` has a better dev
    assert (told["best"], told["best_on"]) == (NAMES[1], "dev")
    paths = {fold: folder(NAMES[1], fold) / "predictions.csv" for fold in FOLDS}
    rival = evaluation.read(paths, "emotion", TASK.names, "emotion")
    peer = comparison.compare([rival], [found.tested], len(EMOTIONS), DRAWN)
    assert peer.interval
    expected = [peer.uar_b - peer.uar_a, *peer.interval, peer.p]
    assert [found.scores[key] for key in ("gain", "gain_low", "gain_high", "gain_p")] == [
        round(float(value or 0), 4) for value in expected
    ]


def test_weights_are_fitted_on_each_folds_own_dev_alone(planted: Path) -> None:
    found = scored(ensemble("dev"))
    weights = found.scores["ensemble"]["weights"]
    for fold in FOLDS:
        pair = [by_hand(name, fold, "dev") for name in NAMES]
        truth = pair[0][1]
        at = np.arange(len(truth))
        steps = np.linspace(0, 1, 1001)
        loss = [-np.log(w * pair[0][0][at, truth] + (1 - w) * pair[1][0][at, truth]).sum()
                for w in steps]  # fmt: skip
        best = steps[int(np.argmin(loss))]
        assert weights[str(fold)][0] == pytest.approx(best, abs=2e-3)
        assert sum(weights[str(fold)]) == pytest.approx(1, abs=2e-4)
    # What test says changes nothing: all its answers are turned round.
    for name in NAMES:
        for fold in FOLDS:
            held = rows(name, fold)
            for row in held:
                if row["role"] == "test":
                    row |= {e: str(-float(row[e])) for e in EMOTIONS}
            rewrite(folder(name, fold), held)
    assert scored(ensemble("dev")).scores["ensemble"]["weights"] == weights


def test_without_dev_the_rival_is_the_best_on_test_and_no_weight_is_fitted(planted: Path) -> None:
    for name in NAMES:
        for fold in FOLDS:
            rewrite(folder(name, fold), [r for r in rows(name, fold) if r["role"] == "test"])
            (folder(name, fold) / "calibration.json").unlink()
    found = scored(ensemble())
    held = {name: [row for fold in FOLDS for row in rows(name, fold)] for name in NAMES}
    uars = [
        balanced_accuracy_score(
            [row["label"] for row in own],
            [EMOTIONS[int(np.argmax([float(row[e]) for e in EMOTIONS]))] for row in own],
        )
        for own in held.values()
    ]
    told = found.scores["ensemble"]
    assert (told["best"], told["best_on"]) == (NAMES[int(np.argmax(uars))], "test")
    assert found.confidence and found.confidence.after is None
    with pytest.raises(PipelineError, match=r"ensembles\.both: weights are fitted on dev"):
        scored(ensemble("dev"))


def test_the_order_of_a_members_rows_is_of_no_matter(planted: Path) -> None:
    before = scored(ensemble("dev"))
    rewrite(folder(NAMES[1], 0), rows(NAMES[1], 0)[::-1])
    after = scored(ensemble("dev"))
    assert after.scores == before.scores
    np.testing.assert_array_equal(after.tested.guess, before.tested.guess)


@pytest.mark.parametrize("harm", ["missing", "label"])
def test_members_of_other_utterances_or_labels_are_refused(planted: Path, harm: str) -> None:
    held = rows(NAMES[1], 1)
    tested = [row for row in held if row["role"] == "test"]
    if harm == "missing":
        held.remove(tested[0])
    else:
        tested[0]["label"] = "sad" if tested[0]["label"] != "sad" else "calm"
    rewrite(folder(NAMES[1], 1), held)
    with pytest.raises(PipelineError, match="pretrained/full and emotion/fbank/linear were not"):
        scored(ensemble())


@pytest.mark.parametrize("weights", ["equal", "dev"])
def test_dimensions_are_averaged_as_they_are(planted: Path, weights: str) -> None:
    plant_ratings(planted, STUDY, "dimensions", "affect")
    names, shift = ["affect/fbank/linear", "affect/tiny/linear"], [0.0, 1.0]
    for fold in FOLDS:
        held = rows(names[0], fold)
        for row in held:
            row["predicted_valence"] = str(2 * float(row["true_valence"]) - 4 + shift[1])
        folder(names[1], fold).mkdir(parents=True)
        rewrite(folder(names[1], fold), held)
    task = Dimensions(target="dimensions", dimensions=["arousal", "valence"], loss="ccc")
    fusion: System = ("affect", "ensemble", "both")
    found = scored(ensemble(weights, names), task, fusion)
    told = [members.read(s, FOLDS, task, "test") for s in ensemble("equal", names).systems]
    assert told[0] and told[1]
    for fold in FOLDS:
        own = found.scores["ensemble"]["weights"][str(fold)]
        at = told[0].said.fold == fold
        share = np.array(own) / sum(own)
        expected = sum(w * one.said.guess[at] for w, one in zip(share, told, strict=True) if one)
        np.testing.assert_allclose(found.tested.guess[at], expected, rtol=1e-9)
    assert {"ccc", "ccc_low", "gain", "gain_p"} <= set(found.scores)
    assert found.confidence is None


def test_votes_are_fused_in_order_and_scored_against_the_shares(planted: Path) -> None:
    plant_ratings(planted, STUDY, "votes", "heard")
    names = ["heard/fbank/linear", "heard/tiny/linear"]
    for fold in FOLDS:
        folder(names[1], fold).mkdir(parents=True)
        held = rows(names[0], fold)
        for row in held:
            row |= {e: str(-float(row[e])) for e in EMOTIONS}
        rewrite(folder(names[1], fold), held)
    classes = list(EMOTIONS)
    task = Votes(target="votes", classes=classes, merge={}, votes="primary", undecided="keep")
    fusion: System = ("heard", "ensemble", "both")
    fitted = scored(ensemble("dev", names), task, fusion)
    # The second says the contrary of what is right.
    assert all(w[0] > 0.9 for w in fitted.scores["ensemble"]["weights"].values())
    alone = evaluation.score_classifiers(
        {("heard", "fbank", "linear"): FOLDS}, {"heard": task}, DRAWN,
        {fold: {r["utterance"] for r in rows(names[0], fold)} for fold in FOLDS},
    )[0]  # fmt: skip
    assert fitted.scores["undecided"] == alone.scores["undecided"] == 32
    assert fitted.scores["js"] < alone.scores["js"] + 0.05


def test_members_are_read_in_csv_s_own_way(planted: Path) -> None:
    with (folder(NAMES[0], 0) / "predictions.csv").open(encoding="utf-8", newline="") as file:
        count = sum(row["role"] == "test" for row in csv.DictReader(file))
    told = members.read(("emotion", "fbank", "linear"), [0], TASK, "test")
    assert told and len(told.said.truth) == count
    assert members.read(("emotion", "fbank", "linear"), [0], TASK, "train") is None
