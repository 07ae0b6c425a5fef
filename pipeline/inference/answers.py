"""What a judge is asked for: calibrated probabilities, of some of its classes, or "unsure".

Each is a judge made of another: the softmax of logits over a temperature is calibrated, and that of
some classes' logits is each one's probability, given that it is one of them.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.ground.errors import PipelineError
from pipeline.inference.judge import Judge
from pipeline.methods import calibration
from pipeline.methods.calibration import Calibration, Cover


def calibrated(judge: Judge, found: Calibration) -> Judge:
    """The same, with logits over the temperature."""
    return judge.after(lambda logits: logits / found.temperature)


def among(judge: Judge, asked: Sequence[str]) -> Judge:
    """The same for some of its classes, in the order asked.

    Raises:
        PipelineError: Fewer than two classes, one twice, or one that it does not know.
    """
    known = [name for name in dict.fromkeys(asked) if name in judge.classes]
    if known != list(asked) or len(known) < 2:
        raise PipelineError(
            f"--classes: expected two or more of {','.join(judge.classes)}, each once, got "
            f"{','.join(asked)!r}"
        )
    rows = [judge.classes.index(name) for name in known]
    return replace(judge.after(lambda logits: logits[..., rows]), classes=known)


def sure(folder: Path, found: Calibration | None, accuracy: float) -> Cover:
    """From which confidence on answers are told, that so many of them are right on dev.

    Raises:
        PipelineError: The classifier is uncalibrated, or its answers are right less often.
    """
    if found is None:
        raise PipelineError(
            f"{folder}: --sure needs a dev to choose a confidence by, train with split.dev speaker"
        )
    cover = found.trusted(accuracy)
    if cover is None:
        best = max(found.covers, key=lambda one: one.accuracy)
        raise PipelineError(
            f"{folder}: --sure {accuracy}: on dev at most {best.accuracy} of the answers are right "
            f"({best.coverage:.0%} of them, the surest), lower it"
        )
    return cover


def asked(
    folder: Path, judge: Judge, classes: str, accuracy: float | None
) -> tuple[Judge, float, list[str]]:
    """The judge of what is asked for, its least confidence, and what is to be said.

    Raises:
        PipelineError: As `among` and `sure`, or both are asked for.
    """
    if judge.target == "dimensions":
        if classes or accuracy is not None:
            raise PipelineError(f"{folder}: tells dimensions, run it without --classes and --sure")
        return judge, 0.0, []
    found = calibration.read(folder)
    notes = [] if found else [f"{folder}: uncalibrated, it had no dev to learn its confidence from"]
    if found:
        judge = calibrated(judge, found)
    if classes:
        judge = among(judge, classes.split(","))
    if accuracy is None:
        return judge, 0.0, notes
    if classes:
        raise PipelineError(
            "--sure: its confidence was chosen among all classes, run it without --classes"
        )
    cover = sure(folder, found, accuracy)
    told = (
        f"{folder}: unsure below {cover.confidence:.3f}; on dev {cover.coverage:.0%} of the "
        f"answers are not, and {cover.accuracy:.0%} of these are right"
    )
    return judge, cover.confidence, [*notes, told]
