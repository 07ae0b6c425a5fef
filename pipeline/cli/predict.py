"""``ser predict FILE...``: the emotion or dimensions of audio files, as a table or as JSON."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.ground.errors import PipelineError

if TYPE_CHECKING:
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
) -> None:
    """Tell the emotion of audio files, and where they are long, how it changes over time.

    A classifier of dimensions tells their values, in the range of the ratings it learnt from.

    Files are trimmed and cut as those that the classifier learnt from; where `params.yaml` has
    other settings by now, a line on stderr says so. A file that cannot be read is one line on
    stderr; the others are judged, and the exit status is 1.
    """
    from pipeline.ground import stage

    stage.set_threads(stage.runtime().threads)
    from pipeline.inference import judge, listening, searching

    files = searching.audio_files(places)
    opinion = judge.load(classifier)
    cutting, notes = listening.cutting_of(classifier)
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
        typer.echo(_json(heard) if as_json else _rows(heard, opinion.classes))
    if failed:
        sys.exit(1)


def _printable(text: str) -> str:
    """As it is, but the bytes of a name that is not UTF-8 escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _json(heard: "Heard") -> str:
    def plain(opinion: "Opinion") -> dict[str, object]:
        where = {"start_s": opinion.start_s, "end_s": opinion.end_s}
        if opinion.values:
            return {**where, "values": opinion.values}
        return {**where, "emotion": opinion.label, "probabilities": opinion.probabilities}

    return json.dumps(
        {
            "file": _printable(str(heard.file)),
            **plain(heard.whole),
            "clips": [plain(c) for c in heard.clips],
        },
        ensure_ascii=False,
    )


def _rows(heard: "Heard", classes: Sequence[str]) -> str:
    """The whole file, then its clips where it has several."""
    over_time = heard.clips if len(heard.clips) > 1 else []
    # A name may hold what separates columns and rows.
    named = _printable(str(heard.file)).translate({9: "\\t", 10: "\\n", 13: "\\r"})
    rows = []
    for name, opinion in [(named, heard.whole), *(("", clip) for clip in over_time)]:
        shown = [f"{opinion.told[c]:.3f}" for c in classes]
        where = [f"{opinion.start_s:.2f}", f"{opinion.end_s:.2f}"]
        label = [opinion.label] if opinion.probabilities else []
        rows.append("\t".join([name, *where, *label, *shown]))
    return "\n".join(rows)
