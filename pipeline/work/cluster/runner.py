"""What a worker of a cluster does with a stage's command: it has a process of its own run it.

That reads the project and writes the scratch store, so the worker's machine must see both.
"""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline.ground.files import AHEAD
from pipeline.ground.launch.process import LAUNCH, how, started

# What the run is called, its module and arguments, and its own environment.
Packed = tuple[str, tuple[str, ...], dict[str, str]]


def maker(project: Path, logs: Path, environment: dict[str, str]) -> Callable[[Packed], str]:
    """What makes a run in the folder ``project``; it returns why that did not end well, or nothing.

    The process ends when the worker does, however that ends.
    """

    def make(packed: Packed) -> str:
        told, words, own = packed
        os.chdir(project)
        logs.mkdir(parents=True, exist_ok=True)
        name = f"{re.sub(r'[ -]+', '-', told)}-{Path(own[AHEAD]).name[:8]}.log"
        with (logs / name).open("w+b") as log:
            command = [sys.executable, "-m", *words]
            told_it = LAUNCH | environment | own
            with started(command, stdout=log, stderr=log, environment=told_it) as process:
                status = process.wait()
            log.seek(0)
            said = log.read().decode("utf-8", "replace").splitlines()
        return f"{how(status)}: {said[-1] if said else 'it said nothing'}" if status else ""

    return make
