"""Confidence on test, calibrated by each fold's own dev."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from pipeline.ground import files
from pipeline.methods import calibration
from pipeline.report import calibration_section
from pipeline.scoring.calibrated import Confidence, confidence
from pipeline.scoring.scores import Predictions
from tests.report.pictures import kept, words

SHARPNESS = {0: 4.0, 3: 8.0}


def drawn() -> Predictions:
    """Two folds whose logits are too sharp, each by its own factor."""
    rng = np.random.default_rng(0)
    fold = np.repeat(list(SHARPNESS), 3000)
    honest = rng.normal(0, 1.5, (len(fold), 3))
    truth = (rng.uniform(size=(len(fold), 1)) > softmax(honest, axis=1).cumsum(1)).sum(1)
    names = np.array([str(n) for n in range(len(fold))])
    guess = honest * np.array([SHARPNESS[k] for k in fold.tolist()])[:, None]
    return Predictions(names, names, names, fold, truth, guess)


def folders(root: Path, *calibrated: int) -> dict[int, Path]:
    made = {fold: root / str(fold) for fold in SHARPNESS}
    for fold, folder in made.items():
        folder.mkdir()
        if fold in calibrated:
            covers = [{"coverage": 1.0, "confidence": 0.5, "accuracy": 0.5}]
            value = {"temperature": SHARPNESS[fold], "utterances": 9, "covers": covers}
            files.write_json(folder / calibration.FILE, value)
    return made


def test_each_fold_has_its_own_temperature(tmp_path: Path) -> None:
    rows = drawn()
    found = confidence(rows, folders(tmp_path, 0, 3))
    assert found.temperatures == (4.0, 8.0)
    assert found.after is not None
    assert found.before.ece > 0.2
    assert found.after.ece < 0.03
    assert found.after.counts.sum() == found.before.counts.sum() == 6000
    told = softmax(rows.guess, axis=1).max(1)  # as trained
    right = rows.guess.argmax(1) == rows.truth
    inside = (told > 14 / 15) & (told <= 1)
    assert found.before.counts[-1] == inside.sum()
    assert found.before.accuracy[-1] == pytest.approx(right[inside].mean())


def test_a_fold_without_dev_leaves_all_uncalibrated(tmp_path: Path) -> None:
    found = confidence(drawn(), folders(tmp_path, 0))
    assert (found.after, found.temperatures) == (None, ())
    assert found.scores == {
        "ece": round(found.before.ece, 4),
        "ece_calibrated": "uncalibrated",
    }


def test_what_is_published_has_the_error_before_and_after(tmp_path: Path) -> None:
    """Against the definition over 15 bins, written out with NumPy's own histogram."""
    rows, made = drawn(), folders(tmp_path, 0, 3)
    scale = np.array([SHARPNESS[k] for k in rows.fold.tolist()])[:, None]
    for name, logits in (("ece", rows.guess), ("ece_calibrated", rows.guess / scale)):
        told, right = softmax(logits, axis=1).max(1), rows.guess.argmax(1) == rows.truth
        edges = np.linspace(0, 1, 16)
        gap = sum(
            abs(np.histogram(told, edges, weights=right - told)[0][n]) / len(told)
            for n in range(15)
        )
        assert confidence(rows, made).scores[name] == pytest.approx(gap, abs=6e-5)


def test_no_decided_answer_has_no_error(tmp_path: Path) -> None:
    rows = drawn()
    undecided = Predictions(*(getattr(rows, f.name) for f in fields(rows)))
    undecided.truth[:] = -1
    assert confidence(undecided, folders(tmp_path, 0, 3)).scores == {}


def test_the_section_shows_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = kept(monkeypatch)
    both = confidence(drawn(), folders(tmp_path, 0, 3))
    known = [("one", both), ("two", Confidence(both.before, None, ()))]
    calibration_section.draw(Path("x.png"), known)
    assert words(found["x.png"]) == ["as trained", "calibrated"]
    one, two = found["x.png"].axes[:2]
    assert [len(axes.lines) for axes in (one, two)] == [3, 2]
    line = np.asarray(one.lines[2].get_xydata())
    assert np.abs(line[:, 0] - line[:, 1]).max() < 0.15
    assert calibration_section._spanned(both) == "4.00 to 8.00"
    assert calibration_section._spanned(Confidence(both.before, both.after, (2.0, 2.0))) == "2.00"
