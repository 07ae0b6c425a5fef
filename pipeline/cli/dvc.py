"""A command of DVC, which ends when this process does, with the stages that it runs."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from pipeline.ground.launch.process import started


def dvc(words: Sequence[str]) -> str:
    """Run ``dvc`` with these words; returns the line that says why it failed, empty if it did not.

    That is its first line of an error, else the first on stderr.
    """
    command = [sys.executable, "-m", "dvc", *words]
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as log:
        with started(command, stdout=said, stderr=log, stop=_interrupt, environment={}) as process:
            status = process.wait()
        log.seek(0)
        text = log.read().decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")]
    return [*errors, *lines, "it said nothing"][0] if status else ""


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """As a terminal's Ctrl-C does: DVC hands no signal on to its stages."""
    os.killpg(process.pid, signal.SIGINT)
