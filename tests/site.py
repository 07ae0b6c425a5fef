"""Run every command of the pages: ``python -m tests.site [PAGE...]``, all of them without PAGE.

The blocks of a page that are marked ``sh`` run one after the other, in a clone of what is committed
with the demo's outputs. A block whose title begins with ``needs`` is passed over, and counted: what
it needs (data, a hub, hours) is not here. A line a page; exit status 1 where a command failed.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.ground.code import ROOT

_BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]*)\")?\n(.*?)^```$", re.M | re.S)
SHELL = "sh"


@dataclass(frozen=True)
class Block:
    """The commands of a page between two fences; ``needs`` is what they can't run without."""

    commands: str
    needs: str


def blocks(page: Path) -> Iterator[Block]:
    """The commands of a page, in their order."""
    for language, title, text in _BLOCK.findall(page.read_text("utf-8")):
        if language == SHELL:
            yield Block(text, title.removeprefix("needs").strip())


def run(page: Path) -> bool:
    """Run a page's commands in a clone, and say how it went."""
    found = list(blocks(page))
    runnable = [block.commands for block in found if not block.needs]
    began = time.monotonic()
    status = _in_clone("".join(runnable)) if runnable else 0
    seconds, left = time.monotonic() - began, len(found) - len(runnable)
    how = f"FAILED ({status})" if status else "ok"
    told = f"{page.name}: {len(runnable)} blocks {how}, {left} not run, {seconds:.0f} s\n"
    sys.stderr.write(told)
    return not status


def _in_clone(commands: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        prepare = f"""
            git clone -q '{ROOT}' '{project}' && cd '{project}'
            dvc cache dir --local '{ROOT}/.dvc/cache' && dvc checkout -q
            git config user.name Someone && git config user.email someone@example.org
        """
        environment = {**os.environ, "PYTHONPATH": str(project)}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{{ {prepare} }} > /dev/null\n{commands}"],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        return done.returncode


if __name__ == "__main__":
    pages = [Path(name) for name in sys.argv[1:]]
    pages = pages or [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    sys.exit(not all(list(map(run, pages))))
