"""Who may come in: the token of what listens, for `ser serve` and `ser web`."""

import os
from pathlib import Path

from pipeline.ground.errors import PipelineError

ENVIRONMENT = "SER_TOKEN"
LEAST_TOKEN = 16  # characters


def token(file: Path | None, host: str) -> str:
    """The token, of a file or the environment; empty where ``host`` needs none and none is given.

    No process that this one starts inherits it.

    Raises:
        PipelineError: It cannot be read or is easily guessed, or others reach ``host`` without one.
    """
    from pipeline.inference.service.address import is_loopback

    told = os.environ.pop(ENVIRONMENT, "")
    place = str(file) if file else ENVIRONMENT
    if file:
        try:
            told = file.read_text("utf-8").strip()
        except UnicodeError:
            told = "\0"
    if not told and not file:
        if is_loopback(host):
            return ""
        raise PipelineError(
            f"--host {host}: reached from other machines, expected a token, name its file with "
            f"--token-file or set {ENVIRONMENT}"
        )
    if len(told) < LEAST_TOKEN or not (told.isascii() and told.isprintable()) or " " in told:
        raise PipelineError(
            f"{place}: expected {LEAST_TOKEN} or more characters of ASCII without spaces, make one "
            "with `openssl rand -hex 32`"
        )
    return told
