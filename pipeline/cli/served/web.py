"""``ser web MODEL``: a page on which one records, drops or plays speech, and sees its emotion."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.served import entrance
from pipeline.ground.errors import PipelineError


def main(  # noqa: PLR0913 - the options of a command
    model: Annotated[
        str,
        typer.Argument(help="What `ser export` wrote, hf:OWNER/NAME@REVISION, or a classifier."),
    ],
    *,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: a free one.")] = 7860,
    token_file: Annotated[
        Path | None,
        typer.Option(help=f"Holds the password that a visitor gives; also {entrance.ENVIRONMENT}."),
    ] = None,
    examples: Annotated[
        Path | None, typer.Option(help="Recordings to offer; else synthetic voices.")
    ] = None,
    max_mib: Annotated[int, typer.Option(min=1, help="Of one recording.")] = 32,
    max_audio_s: Annotated[float, typer.Option(min=1, help="Of one recording.")] = 300.0,
    scale: Annotated[
        str, typer.Option(help="Range of dimensions, such as 1,7; else of what was told.")
    ] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "",
    threads: Annotated[int, typer.Option(min=0, help="0: all cores, or as params.yaml.")] = 0,
) -> None:
    """Serve a page for a browser: emotion of a recording and over time, of a microphone live.

    Nothing is fetched from anywhere, nothing that is dropped or recorded is kept. Without a token
    it answers this machine alone.
    """
    _require_installed()
    from pipeline.ground import stage
    from pipeline.inference import passport, remote, searching

    token = entrance.token(token_file, host)
    ends = _span(scale) if scale else None
    folder = remote.folder(model)
    if not threads and passport.is_at_home(folder):
        threads = stage.runtime().threads
    from pipeline.inference.page import running
    from pipeline.inference.page.building import Limits

    running.run(
        str(folder),
        host=host,
        port=port,
        token=token,
        examples=running.copies(searching.audio_files([examples])) if examples else _voices,
        limits=Limits(max_mib, max_audio_s),
        scale=ends,
        device=device,
        threads=threads,
        told=lambda address: typer.echo(f"{address} (Ctrl-C ends it)"),
    )


def _require_installed() -> None:
    for name in ("gradio", "uvicorn"):
        if importlib.util.find_spec(name) is None:
            raise PipelineError(f"{name}: not installed, run `pip install 'ser-pipeline[web]'`")


def _span(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise PipelineError(f"--scale: expected LOW,HIGH, such as 1,7, got {text!r}")
    return low, high


def _voices(folder: Path) -> list[Path]:
    """Voices of the demo corpus that no model learnt from, and one whose emotion changes."""
    from pipeline.demo import examples

    return examples.write(folder)
