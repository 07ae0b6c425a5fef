"""From a model's folder to a page that answers, until it is told to end; then nothing is left."""

import hmac
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from pipeline.ground import ending, stage
from pipeline.inference import api, passport, remote
from pipeline.inference.page import building
from pipeline.inference.page.answer import Style
from pipeline.inference.page.building import Limits
from pipeline.inference.page.drawing import Span
from pipeline.inference.service import address
from pipeline.methods import calibration
from pipeline.work import pool

UNCALIBRATED = "Uncalibrated: the model had no dev to learn its confidence from."
LAST_S = 2  # for what is under way when the process is told to end


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
    threads: int = 0,
    told: Callable[[str], object] = print,
) -> None:
    """Serve the page of a model until SIGTERM or Ctrl-C, which end the process.

    Args:
        name: What `api.load` takes.
        host: The address to listen at.
        port: The port; 0 for a free one.
        token: The password that a visitor must give with any user name; empty for none.
        examples: Given a folder, the recordings to offer, which it may write there.
        limits: Of one recording.
        scale: Between which values dimensions are drawn; None for those of each answer.
        device: As in `api.load`.
        threads: That compute; 0 for all cores.
        told: Called with the page's address once it can be asked.

    Raises:
        PipelineError: There is no such model, it is damaged, or the port is taken.
    """
    stage.set_threads(threads or pool.cores())
    stage.keep_few_plans()
    ending.take_signals()
    listener = address.bound(host, port)
    folder, limits = remote.folder(name), limits or Limits()
    model = api.load(folder, device)
    with ending.folder(prefix="ser-web-") as kept:
        _keep_quiet(kept)
        known = passport.Passport.read(folder)
        title = known.name if known else str(folder)
        page = building.built(model, style_of(folder, model, scale), limits, title, examples(kept))
        config = uvicorn.Config(
            building.mounted(page, limits, _hosts(host, token), _door(token) if token else None),
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=LAST_S,
        )
        told(address.url(listener, host))
        _Server(config).run([listener])
    sys.stdout.flush()
    os._exit(0)  # whatever thread is still at work, its visitor is gone


class _Server(uvicorn.Server):
    """uvicorn's, but that a signal is obeyed and not raised again."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End after what is under way, at once when told again."""
        del sig, frame
        self.force_exit, self.should_exit = self.should_exit, True


def copies(files: Sequence[Path]) -> Callable[[Path], Sequence[Path]]:
    """Recordings from anywhere as ``examples``: a page shows what lies in its folder alone."""

    def copied(folder: Path) -> Sequence[Path]:
        made = [folder / str(number) / file.name for number, file in enumerate(files)]
        for file, place in zip(files, made, strict=True):
            place.parent.mkdir()
            shutil.copyfile(file, place)
        return made

    return copied


def style_of(folder: Path, model: api.Model, scale: Span | None = None) -> Style:
    """What holds for all answers of the model in ``folder``."""
    sure = model.judge.target == "dimensions" or calibration.read(folder)
    return Style(model.classes, scale, "" if sure else UNCALIBRATED)


def _keep_quiet(kept: Path) -> None:
    """Before Gradio is imported: no word to its makers, and no file but below ``kept``."""
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(kept),
        "GRADIO_EXAMPLES_CACHE": str(kept / "examples"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def _hosts(host: str, token: str) -> list[str]:
    """Without a token, a page of another site must not ask by a name that it made to lead here."""
    if token or ":" in host or not address.is_loopback(host):
        return ["*"]
    return ["localhost", "127.0.0.1", host]


def _door(token: str) -> Any:
    def admits(_: str, password: str) -> bool:
        return hmac.compare_digest(password.encode(), token.encode())

    return admits
