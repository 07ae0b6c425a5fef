"""What a classifier's confidence is worth on test: as it was trained, and calibrated on dev."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.methods import calibration
from pipeline.metrics.calibration import Reliability, reliability
from pipeline.scoring.scores import Predictions, Scores, rounded

CALIBRATED = "ece_calibrated"
UNCALIBRATED = "uncalibrated"  # said in place of a number


@dataclass(frozen=True)
class Confidence:
    """Pooled over folds; ``after`` is None, and no temperature there, where one had no dev."""

    before: Reliability
    after: Reliability | None
    temperatures: tuple[float, ...]

    @property
    def scores(self) -> Scores:
        """The expected calibration errors, before and after; none where nothing was answered."""
        if not self.before.counts.any():
            return {}
        after = rounded({CALIBRATED: self.after.ece}) if self.after else {CALIBRATED: UNCALIBRATED}
        return {**rounded({"ece": self.before.ece}), **after}


def confidence(tested: Predictions, folders: Mapping[int, Path]) -> Confidence:
    """That of test logits, each fold's over the temperature in the folder of its classifier.

    Utterances whose votes are undecided have no right answer, and are left out.
    """
    tested = tested.of(tested.truth >= 0)
    found = {fold: calibration.read(folder) for fold, folder in folders.items()}
    scales = {fold: one.temperature for fold, one in found.items() if one}
    before = _reliability(tested, dict.fromkeys(found, 1.0))
    if len(scales) < len(found):
        return Confidence(before, None, ())
    return Confidence(before, _reliability(tested, scales), tuple(scales.values()))


def of_average(trained: Predictions, told: Predictions, is_calibrated: bool) -> Confidence:
    """That of an ensemble's logits: of what was trained, and of what is calibrated, averaged."""
    decided, scales = trained.truth >= 0, dict.fromkeys(trained.fold.tolist(), 1.0)
    before, after = (_reliability(one.of(decided), scales) for one in (trained, told))
    return Confidence(before, after if is_calibrated else None, ())


def _reliability(tested: Predictions, scales: Mapping[int, float]) -> Reliability:
    temperature = np.array([scales[fold] for fold in tested.fold.tolist()])[:, None]
    told = calibration.probabilities(tested.guess / temperature, 1.0)
    return reliability(told.max(1), tested.guess.argmax(1) == tested.truth)
