"""``ser predict FILE...``: emotion or dimensions of audio files, as a whole and over time."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipeline.ground import ending
from pipeline.ground.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.inference.judge import Judge
    from pipeline.inference.listening import Manner
    from pipeline.inference.timeline.formats import Format
    from pipeline.inference.timeline.opinions import Heard

Backend = Literal["torch", "onnx", "onnx-int8"]
Named = Literal["table", "json", "csv", "audacity", "elan", "textgrid"]


def main(  # noqa: PLR0913 - the options of a command
    places: Annotated[
        list[Path], typer.Argument(help="Audio files, folders of them, or - for standard input.")
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "--classifier",
            help="What `ser export` wrote, hf:OWNER/NAME@REVISION, or a classifier of the project.",
        ),
    ],
    *,
    segments: Annotated[
        str,
        typer.Option(help="fixed windows, vad (extra `vad`), or an RTTM or CSV file of turns."),
    ] = "",
    segment_s: Annotated[
        float | None,
        typer.Option(min=0.5, help="Length of clips and windows; as in training."),
    ] = None,
    hop_s: Annotated[
        float, typer.Option(min=0, help="Start a window this often; 0: where the last one ends.")
    ] = 0.0,
    smooth_s: Annotated[
        float, typer.Option(min=0, help="Average over parts of a speaker this near; 0: none.")
    ] = 0.0,
    stream_hz: Annotated[
        int, typer.Option("--stream", min=0, help="Standard input is 16-bit PCM at this rate.")
    ] = 0,
    form: Annotated[Named, typer.Option("--format", help="How it is written.")] = "table",
    as_json: Annotated[bool, typer.Option("--json", help="Short for --format json.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="A folder: a file for each recording goes there.")
    ] = None,
    backend: Annotated[Backend, typer.Option(help="What computes.")] = "torch",
    classes: Annotated[
        str, typer.Option(help="Which to choose from, such as angry,happy,sad; else all.")
    ] = "",
    sure: Annotated[
        float | None,
        typer.Option(min=0, max=1, help='"unsure", rather than right less often than this on dev.'),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "",
    threads: Annotated[int, typer.Option(min=0, help="0: all cores, or as params.yaml.")] = 0,
) -> None:
    """Tell the emotion of recordings of any length, and how it changes over time.

    Files are trimmed and cut as those that the classifier learnt from; in its project a line on
    stderr says where `params.yaml` has other settings by now. With --segments each window or turn
    has a line. A file that cannot be read is one line on stderr; the others are judged, and the
    exit status is 1. A classifier of dimensions tells their values, in the range of the ratings
    that it learnt from.

    Probabilities are calibrated on dev (temperature scaling); without dev a line on stderr says
    that they are not.
    """
    from pipeline.ground import stage
    from pipeline.inference import passport, remote
    from pipeline.work import pool

    folder = remote.folder(model)
    at_home = passport.is_at_home(folder)
    stage.set_threads(threads or (stage.runtime().threads if at_home else pool.cores()))
    stage.keep_few_plans()
    from pipeline.inference import answers, judge, listening, searching
    from pipeline.inference.timeline.formats import FORMATS

    chosen = FORMATS["json" if as_json else form]
    _require_sense(places, stream_hz, segments, hop_s, chosen)
    if stream_hz and (segments or smooth_s or out):
        raise PipelineError("--stream: has no --segments, --smooth-s and --out, leave them out")
    with ending.folder() as spool:
        files = [] if stream_hz else searching.audio_files(places)
        _require_places(files, chosen, out)
        opinion = judge.load(folder, device, backend)
        opinion, least, told = answers.asked(folder, opinion, classes, sure)
        cutting, notes = listening.cutting_of(folder)
        for note in [*notes, *told]:
            typer.echo(note, err=True)
        if segment_s:
            cutting = cutting.model_copy(update={"max_clip_s": segment_s})
        manner = listening.Manner(cutting, segments, hop_s, smooth_s, least)
        if stream_hz:
            _stream(opinion, manner, stream_hz, chosen)
            return
        if at_home and stage.runtime().engine == "ray" and not Path(segments).is_file():
            from pipeline.inference.cluster import spreading
            from pipeline.inference.cluster.hearing import Asked

            asked = Asked(folder, device, backend, classes, sure)
            listened = spreading.spread(asked, files, manner)
        else:
            listened = _listened(opinion, files, manner, spool)
        if not _judged(opinion, files, listened, chosen, out):
            sys.exit(1)


def _columns(judge: "Judge") -> list[str]:
    return judge.classes if judge.target == "dimensions" else ["emotion", *judge.classes]


def _listened(
    opinion: "Judge", files: Sequence[Path], manner: "Manner", spool: Path
) -> Iterator["Heard | PipelineError"]:
    """What is heard of each file, or why nothing is."""
    from pipeline.inference import listening

    for file in files:
        try:
            yield listening.listen(opinion, file, manner, spool)
        except PipelineError as error:
            yield error


def _judged(
    opinion: "Judge",
    files: Sequence[Path],
    listened: Iterable["Heard | PipelineError"],
    chosen: "Format",
    out: Path | None,
) -> bool:
    """Write what was heard of each file; False where one could not be read."""
    from pipeline.ground import files as written
    from pipeline.inference.timeline.formats import printable

    header = chosen.header(_columns(opinion))
    if header and not out:
        typer.echo(header)
    good = True
    for file, heard in zip(files, listened, strict=True):
        if isinstance(heard, PipelineError):
            typer.echo(printable(" ".join(str(heard).split())), err=True)
            good = False
            continue
        text = chosen.text(heard, opinion.classes)
        if out:
            told = [*([header] if header else []), text]
            written.write_text(_target(out, file, chosen).absolute(), "\n".join(told) + "\n")
        else:
            typer.echo(text)
    return good


def _require_sense(
    places: Sequence[Path], stream_hz: int, segments: str, hop_s: float, chosen: "Format"
) -> None:
    """Refuse options that have no meaning together."""
    if stream_hz and places != [Path("-")]:
        raise PipelineError("--stream: reads standard input, expected - in place of files")
    if stream_hz and chosen.suffix:
        raise PipelineError("--format: a stream has no end, expected table, json or csv")
    if hop_s and segments != "fixed" and not stream_hz:
        raise PipelineError("--hop-s: of windows, add --segments fixed")
    if segments not in ("", "fixed", "vad") and not Path(segments).is_file():
        raise PipelineError(f"{segments}: no such file, expected fixed, vad or a file of turns")


def _require_places(files: Sequence[Path], chosen: "Format", out: Path | None) -> None:
    """Refuse several documents on one stream, and two recordings of one name in one folder."""
    if chosen.suffix and len(files) > 1 and not out:
        raise PipelineError(
            f"--format: {len(files)} recordings make as many documents, name a folder with --out"
        )
    if out:
        known: dict[Path, Path] = {}
        for file in files:
            target = _target(out, file, chosen)
            if other := known.setdefault(target, file) != file and known[target]:
                raise PipelineError(
                    f"{target}: would be of {other} and of {file}, rename one of them"
                )


def _target(out: Path, file: Path, chosen: "Format") -> Path:
    name = "stdin" if str(file) == "-" else file.name
    return out / f"{name}{chosen.suffix or '.out'}"


def _stream(opinion: "Judge", manner: "Manner", rate_hz: int, chosen: "Format") -> None:
    """An opinion a second of what comes in, until it ends."""
    from pipeline.inference import listening, searching
    from pipeline.inference.timeline.opinions import Heard

    if header := chosen.header(_columns(opinion)):
        typer.echo(header)
    window_s = min(manner.cutting.max_clip_s, listening.STREAM_S)
    every_s = manner.hop_s or 1.0
    for one in listening.stream(opinion, _pcm(), rate_hz, window_s, every_s, manner.least):
        typer.echo(chosen.text(Heard(searching.STDIN, one, [one], one.end_s), opinion.classes))
        sys.stdout.flush()


def _pcm() -> Iterator[bytes]:
    stream = os.fdopen(sys.stdin.fileno(), "rb", closefd=False)
    while block := stream.read1(2**16):
        yield block
