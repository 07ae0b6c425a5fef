"""``ser serve MODEL``: a trained model as a service, over HTTP and WebSocket."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.cli.served import entrance
from pipeline.ground.errors import PipelineError

# As `pipeline.inference.service.limits.Limits` has them, which --help does without.
MIB = 2**20


def main(  # noqa: PLR0913 - the options of a command
    model: Annotated[
        str,
        typer.Argument(
            help="What `ser export` wrote, hf:OWNER/NAME@REVISION, or a classifier of the project."
        ),
    ],
    *,
    host: Annotated[
        str, typer.Option(help="Where it listens; other than loopback it wants a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: one that is free.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(help=f"The token that requests must bring; or in {entrance.ENVIRONMENT}."),
    ] = None,
    max_mib: Annotated[float, typer.Option(min=0.001, help="Of a request's body.")] = 32.0,
    max_audio_s: Annotated[float, typer.Option(min=1, help="Of all audio in a request.")] = 600.0,
    at_work: Annotated[
        int, typer.Option(min=1, max=1000, help="Requests at work or waiting for it, at once.")
    ] = 32,
    streams: Annotated[int, typer.Option(min=0, max=1000, help="Streams, at once.")] = 8,
    body_s: Annotated[float, typer.Option(min=0.1, help="For a body to arrive.")] = 60.0,
    idle_s: Annotated[float, typer.Option(min=0.1, help="For a stream's next samples.")] = 30.0,
    stop_s: Annotated[float, typer.Option(min=0, help="To finish what is at work.")] = 30.0,
    backend: Annotated[
        Literal["torch", "onnx", "onnx-int8"], typer.Option(help="What computes.")
    ] = "torch",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "",
    threads: Annotated[int, typer.Option(min=0, help="0: all cores, or as params.yaml.")] = 0,
) -> None:
    """Serve a model: POST /predict, WebSocket /stream, /health, /metrics, /openapi.json.

    Answers are those of `ser predict --json`. Nothing of a request is kept, and no log holds what
    was sent or said. SIGTERM finishes what is at work, refuses what is new, and exits with 0.
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ImportError as error:
        raise PipelineError(
            f"{error.name}: not installed, run `pip install 'ser-pipeline[web]'`"
        ) from None
    from pipeline.ground import stage
    from pipeline.inference import passport, remote
    from pipeline.work import pool

    token = entrance.token(token_file, host)
    folder = remote.folder(model)
    at_home = passport.is_at_home(folder)
    stage.set_threads(threads or (stage.runtime().threads if at_home else pool.cores()))
    stage.keep_few_plans()
    from pipeline.inference import api, listening
    from pipeline.inference.service import address, server
    from pipeline.inference.service.limits import Limits
    from pipeline.inference.service.work import Work

    limits = Limits(round(max_mib * MIB), max_audio_s, at_work, streams, body_s, idle_s, stop_s)
    with address.bound(host, port) as listener:
        loaded = api.load(folder, device, backend)
        for note in listening.cutting_of(folder)[1]:
            typer.echo(note, err=True)
        typer.echo(f"serving {model} at {address.url(listener, host)}", err=True)
        server.run(Work(loaded, limits), listener, token)
