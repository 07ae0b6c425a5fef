"""``ser predict FILE...``: the emotion or dimensions of audio files, as a table or as JSON."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.ground.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.inference.judge import Judge
    from pipeline.inference.listening import Heard, Opinion


def main(
    places: Annotated[list[Path], typer.Argument(help="Audio files, or folders of them.")],
    classifier: Annotated[
        Path, typer.Option(help="Such as artifacts/classifiers/emotion/pretrained/full/0.")
    ],
    segment_s: Annotated[
        float | None, typer.Option(min=0.5, help="Cut longer files; else as in training.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, one line a file.")] = False,
    classes: Annotated[
        str, typer.Option(help="Which to choose from, such as angry,happy,sad; else all.")
    ] = "",
    sure: Annotated[
        float | None,
        typer.Option(min=0, max=1, help='"unsure", rather than right less often than this on dev.'),
    ] = None,
) -> None:
    """Tell the emotion of audio files, and where they are long, how it changes over time.

    A classifier of dimensions tells their values, in the range of the ratings it learnt from.

    Files are trimmed and cut as those that the classifier learnt from; where `params.yaml` has
    other settings by now, a line on stderr says so. A file that cannot be read is one line on
    stderr; the others are judged, and the exit status is 1.

    Probabilities are calibrated on dev (temperature scaling); without dev a line on stderr says
    that they are not.
    """
    from pipeline.ground import stage

    stage.set_threads(stage.runtime().threads)
    from pipeline.inference import judge, listening, searching

    files = searching.audio_files(places)
    opinion = judge.load(classifier)
    opinion, least, told = _asked(classifier, opinion, classes, sure)
    cutting, notes = listening.cutting_of(classifier)
    notes += told
    for note in notes:
        typer.echo(note, err=True)
    if segment_s:
        cutting = cutting.model_copy(update={"max_clip_s": segment_s})
    if not as_json:
        label = [] if opinion.target == "dimensions" else ["emotion"]
        typer.echo("\t".join(["file", "start_s", "end_s", *label, *opinion.classes]))
    failed = False
    for file in files:
        try:
            heard = listening.listen(opinion, file, cutting)
        except PipelineError as error:
            typer.echo(_printable(" ".join(str(error).split())), err=True)
            failed = True
            continue
        typer.echo(_json(heard, least) if as_json else _rows(heard, opinion.classes, least))
    if failed:
        sys.exit(1)


def _printable(text: str) -> str:
    """As it is, but the bytes of a name that is not UTF-8 escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _asked(
    folder: Path, judge: "Judge", classes: str, sure: float | None
) -> tuple["Judge", float, list[str]]:
    """The judge of what is asked for, its least confidence, and what is to be said.

    Raises:
        PipelineError: As `answers.among` and `answers.sure`, or both are asked for.
    """
    from pipeline.inference import answers
    from pipeline.methods import calibration

    if judge.target == "dimensions":
        if classes or sure is not None:
            raise PipelineError(f"{folder}: tells dimensions, ask without --classes and --sure")
        return judge, 0.0, []
    found = calibration.read(folder)
    notes = [] if found else [f"{folder}: uncalibrated, it had no dev to learn its confidence from"]
    if found:
        judge = answers.calibrated(judge, found)
    if classes:
        judge = answers.among(judge, classes.split(","))
    if sure is None:
        return judge, 0.0, notes
    if classes:
        raise PipelineError(
            "--sure: its confidence was chosen among all classes, ask without --classes"
        )
    cover = answers.sure(folder, found, sure)
    told = (
        f"{folder}: unsure below {cover.confidence:.3f}; on dev {cover.coverage:.0%} of the "
        f"answers are not, and {cover.accuracy:.0%} of these are right"
    )
    return judge, cover.confidence, [*notes, told]


def _label(opinion: "Opinion", least: float) -> str:
    from pipeline.inference.answers import UNSURE

    return opinion.label if opinion.probabilities[opinion.label] >= least else UNSURE


def _json(heard: "Heard", least: float) -> str:
    def plain(opinion: "Opinion") -> dict[str, object]:
        where = {"start_s": opinion.start_s, "end_s": opinion.end_s}
        if opinion.values:
            return {**where, "values": opinion.values}
        emotion = _label(opinion, least)
        return {**where, "emotion": emotion, "probabilities": opinion.probabilities}

    return json.dumps(
        {
            "file": _printable(str(heard.file)),
            **plain(heard.whole),
            "clips": [plain(c) for c in heard.clips],
        },
        ensure_ascii=False,
    )


def _rows(heard: "Heard", classes: Sequence[str], least: float) -> str:
    """The whole file, then its clips where it has several."""
    over_time = heard.clips if len(heard.clips) > 1 else []
    # A name may hold what separates columns and rows.
    named = _printable(str(heard.file)).translate({9: "\\t", 10: "\\n", 13: "\\r"})
    rows = []
    for name, opinion in [(named, heard.whole), *(("", clip) for clip in over_time)]:
        shown = [f"{opinion.told[c]:.3f}" for c in classes]
        where = [f"{opinion.start_s:.2f}", f"{opinion.end_s:.2f}"]
        label = [_label(opinion, least)] if opinion.probabilities else []
        rows.append("\t".join([name, *where, *label, *shown]))
    return "\n".join(rows)
