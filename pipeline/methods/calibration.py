"""How sure a classifier may sound: ``calibration.json`` in its folder, fitted on dev.

Networks sound surer than they are right. One number, the temperature that
divides the logits, mends most of that and changes no answer (Guo et al., 2017, section 4.2). What
was trained without dev has no such file, and is uncalibrated.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.optimize import minimize_scalar

from pipeline.ground import files
from pipeline.ground.params import Section, parse
from pipeline.metrics.arrays import Floats, Ints
from pipeline.splits.targets import Task
from pipeline.splits.valued import Valued

FILE = "calibration.json"
# Beyond them answers are certain, or chance.
LOWEST, HIGHEST = 0.01, 100.0
STEPS = 20  # of coverage

Part = Annotated[float, Field(ge=0, le=1)]


class Cover(Section):
    """This part of the answers on dev is at least as confident, and this part of those right."""

    coverage: Part
    confidence: Part
    accuracy: Part


class Calibration(Section):
    """The temperature, the utterances of dev that told it, and what answers to trust."""

    temperature: Annotated[float, Field(ge=LOWEST, le=HIGHEST)]
    utterances: Annotated[int, Field(ge=1)]
    covers: Annotated[list[Cover], Field(min_length=1, max_length=STEPS)]

    def trusted(self, accuracy: float) -> Cover | None:
        """The most answers of which so many are right; None where there are none."""
        enough = [cover for cover in self.covers if cover.accuracy >= accuracy]
        return max(enough, key=lambda cover: cover.coverage, default=None)


def fitted(logits: Floats, truth: Ints, is_calibrated: bool = False) -> Calibration:
    """The calibration that follows from dev: logits (utterances, classes), truth (utterances,).

    Of logits that are calibrated already the temperature is 1.
    """
    found = 1.0 if is_calibrated else temperature(logits, truth)
    confidence = probabilities(logits, found).max(1)
    order = np.argsort(-confidence, kind="stable")
    right = np.cumsum((logits.argmax(1) == truth)[order])
    covers = {
        count: Cover(
            coverage=round(count / len(truth), 4),
            confidence=float(np.floor(confidence[order[count - 1]] * 1e4) / 1e4),
            accuracy=round(float(right[count - 1] / count), 4),
        )
        for count in (-(-step * len(truth) // STEPS) for step in range(STEPS, 0, -1))
    }
    return Calibration(temperature=found, utterances=len(truth), covers=list(covers.values()))


def temperature(logits: Floats, truth: Ints) -> float:
    """The one under which dev is most likely; 1 where dev has no error, and would be certain."""
    rows = np.arange(len(truth))
    if (logits.argmax(1) == truth).all():
        return 1.0

    def loss(log: float) -> float:
        scaled = logits / np.exp(log)
        return float((np.logaddexp.reduce(scaled, axis=1) - scaled[rows, truth]).mean())

    limits = (np.log(LOWEST), np.log(HIGHEST))
    found = minimize_scalar(loss, bounds=limits, method="bounded", options={"xatol": 1e-6})
    return float(np.clip(float(f"{np.exp(found.x):.4g}"), LOWEST, HIGHEST))


def probabilities(logits: Floats, temperature: float) -> Floats:
    """The softmax of logits over their temperature, (utterances, classes)."""
    scaled = logits / temperature
    found: Floats = np.exp(scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True))
    return found


def write(folder: Path, task: Task) -> None:
    """Fit on the dev rows of the ``predictions.csv`` in an existing folder, where it has any.

    Undecided votes have no right answer; dimensions have no confidence, and nothing is written.
    """
    if isinstance(task, Valued):
        return
    rows = [r for r in files.read_csv(folder / "predictions.csv") if r["role"] == "dev"]
    known, classes = [row for row in rows if row["label"]], task.classes
    if known:
        logits = np.array([[float(row[name]) for name in classes] for row in known])
        truth = np.array([classes.index(row["label"]) for row in known])
        files.write_json(folder / FILE, fitted(logits, truth).model_dump())


def read(folder: Path) -> Calibration | None:
    """What `write` wrote into ``folder``; None where there was no dev.

    Raises:
        PipelineError: It is damaged.
    """
    path = folder / FILE
    return parse(path, Calibration) if path.is_file() else None
