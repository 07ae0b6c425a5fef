"""Temperature and confidence, against SciPy, the definition, and in their limits."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from pipeline.ground.errors import PipelineError
from pipeline.methods import calibration
from pipeline.methods.calibration import Calibration, Cover
from pipeline.splits.targets import Emotion

TASK = Emotion(target="emotion", classes=list("wxyz"), merge={})


def drawn(sharpness: float, count: int = 4000) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits that are ``sharpness`` times those from which the truth is drawn."""
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 1.5, (count, 4))
    chances = softmax(honest, axis=1).cumsum(1)
    truth = (rng.uniform(size=(count, 1)) > chances).sum(1)
    return sharpness * honest, truth


@pytest.mark.parametrize("sharpness", [0.2, 1.0, 5.0, 30.0])
def test_temperature_equals_scipy_s_and_finds_how_sharp_logits_are(sharpness: float) -> None:
    logits, truth = drawn(sharpness)

    def loss(inverse: NDArray[np.float64]) -> float:
        return -float(log_softmax(logits * inverse[0], axis=1)[range(len(truth)), truth].mean())

    peer = minimize(loss, [1 / sharpness], method="Nelder-Mead", options={"xatol": 1e-8})
    found = calibration.temperature(logits, truth)
    assert found == pytest.approx(1 / peer.x[0], rel=1e-3)
    assert found == pytest.approx(sharpness, rel=0.08)


def test_an_answer_does_not_change_and_extremes_stay_finite() -> None:
    logits, _ = drawn(5.0, 200)
    told = calibration.probabilities(logits, 5.0)
    assert (told.argmax(1) == logits.argmax(1)).all()
    np.testing.assert_allclose(told, softmax(logits / 5, axis=1))
    wrong = (logits.argmax(1) + 1) % 4
    assert calibration.temperature(logits, wrong) == calibration.HIGHEST
    assert calibration.temperature(logits, logits.argmax(1)) == 1.0  # no error: as it is
    assert np.isfinite(calibration.probabilities(1e4 * logits, calibration.LOWEST)).all()


def test_a_cover_is_what_it_says() -> None:
    """Counted anew: how many are at least as confident, and how many of these are right."""
    logits, truth = drawn(3.0, 237)
    found = calibration.fitted(logits, truth)
    told = softmax(logits / found.temperature, axis=1)
    assert [cover.coverage for cover in found.covers] == pytest.approx(
        [math.ceil(k * 237 / 20) / 237 for k in range(20, 0, -1)], abs=1e-4
    )
    for cover in found.covers:
        above = told.max(1) >= cover.confidence - 5e-5
        assert above.mean() == pytest.approx(cover.coverage, abs=2 / 237)
        assert (told.argmax(1) == truth)[above].mean() == pytest.approx(cover.accuracy, abs=0.02)
    assert found.covers[-1].accuracy > found.covers[0].accuracy


def test_the_most_answers_that_are_right_so_often_are_trusted() -> None:
    covers = [(1.0, 0.3, 0.5), (0.6, 0.5, 0.8), (0.4, 0.6, 0.7), (0.2, 0.9, 0.9)]
    found = Calibration(
        temperature=2.0,
        utterances=10,
        covers=[Cover(coverage=a, confidence=b, accuracy=c) for a, b, c in covers],
    )
    for accuracy, confidence in ((0.0, 0.3), (0.5, 0.3), (0.6, 0.5), (0.8, 0.5), (0.85, 0.9)):
        trusted = found.trusted(accuracy)
        assert trusted is not None
        assert trusted.confidence == confidence
    assert found.trusted(0.95) is None


def test_one_utterance_of_dev_has_one_cover() -> None:
    found = calibration.fitted(np.array([[1.0, 0.0]]), np.array([1]))
    assert found.utterances == 1
    assert [(c.coverage, c.accuracy) for c in found.covers] == [(1.0, 0.0)]


def predictions(folder: Path, role: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    logits, truth = drawn(4.0, 60)
    folder.mkdir(exist_ok=True)
    with (folder / "predictions.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["utterance", "role", "label", "w", "x", "y", "z"])
        for number, (row, label) in enumerate(zip(logits, truth, strict=True)):
            table.writerow([number, role if number < 40 else "test", "wxyz"[label], *row])
    return logits[:40], truth[:40]


def test_dev_alone_is_fitted_and_what_is_written_is_read(tmp_path: Path) -> None:
    logits, truth = predictions(tmp_path, "dev")
    calibration.write(tmp_path, TASK)
    found = calibration.read(tmp_path)
    assert found == calibration.fitted(logits, truth)
    (tmp_path / "calibration.json").write_text('{"temperature": -1}')
    with pytest.raises(PipelineError, match=r"calibration\.json: damaged"):
        calibration.read(tmp_path)


def test_without_dev_nothing_is_written(tmp_path: Path) -> None:
    predictions(tmp_path, "test")
    calibration.write(tmp_path, TASK)
    assert calibration.read(tmp_path) is None
