"""From a model's folder to a page that answers, until it is told to end; then nothing is left."""

import hmac
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.ground.errors import PipelineError
from pipeline.inference import api, passport, remote
from pipeline.inference.page import building
from pipeline.inference.page.answer import Style
from pipeline.inference.page.building import Limits
from pipeline.inference.page.drawing import Span
from pipeline.methods import calibration

UNCALIBRATED = "Uncalibrated: the model had no dev to learn its confidence from."


def run(  # noqa: PLR0913 - as many as `ser web` has options
    name: str,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    token: str = "",
    examples: Callable[[Path], Sequence[Path]] = lambda _: (),
    limits: Limits | None = None,
    scale: Span | None = None,
    device: str = "",
    told: Callable[[str], object] = print,
) -> None:
    """Serve the page of a model until the process ends.

    Args:
        name: What `api.load` takes.
        host: The address to listen at.
        port: The port; 0 for a free one.
        token: The password that a visitor must give with any user name; empty for none.
        examples: Given a folder, the recordings to offer, which it may write there.
        limits: Of one recording.
        scale: Between which values dimensions are drawn; None for those of each answer.
        device: As in `api.load`.
        told: Called with the page's address once it answers.

    Raises:
        PipelineError: There is no such model, it is damaged, or the port is taken.
    """
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    folder = remote.folder(name)
    model = api.load(folder, device)
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="ser-web-") as kept:
        _quiet(Path(kept))
        style = style_of(folder, model, scale)
        known = passport.Passport.read(folder)
        title = known.name if known else str(folder)
        page = building.built(model, style, limits, title, examples(Path(kept)))
        _launched(page, limits, host, port or _free(host), token)
        told(page.local_url)
        ended.wait()
        page.close(verbose=False)


def style_of(folder: Path, model: api.Model, scale: Span | None = None) -> Style:
    """What holds for all answers of the model in ``folder``."""
    sure = model.judge.target == "dimensions" or calibration.read(folder)
    return Style(model.classes, scale, "" if sure else UNCALIBRATED)


def _quiet(kept: Path) -> None:
    """Before Gradio is imported: no word to its makers, and no file but below ``kept``."""
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(kept),
        "GRADIO_EXAMPLES_CACHE": str(kept / "examples"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    try:
        import gradio  # noqa: F401
    except ImportError:
        raise PipelineError(
            "gradio: not installed, run `pip install 'ser-pipeline[web]'`"
        ) from None


def _free(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as found:
        found.bind((host, 0))
        return int(found.getsockname()[1])


def _launched(page: Any, limits: Limits, host: str, port: int, token: str) -> None:
    def admits(_: str, password: str) -> bool:
        return hmac.compare_digest(password.encode(), token.encode())

    try:
        page.launch(
            **building.options(limits),
            server_name=host,
            server_port=port,
            auth=admits if token else None,
            auth_message="Any user name, and the token as the password." if token else None,
            prevent_thread_lock=True,
        )
    except OSError:
        raise PipelineError(
            f"{host}:{port}: cannot listen there, choose another --host or --port"
        ) from None
