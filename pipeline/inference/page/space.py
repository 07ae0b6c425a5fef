"""A Space of the hub: the page of a model as a repository that serves itself.

It holds the wheel, and `app.py` imports that as it lies: the hub installs ``requirements.txt`` in a
step that sees no other file (its log: ``RUN --mount=target=requirements.txt pip install``), so that
a wheel can't be named there. What the wheel depends on is, at the versions that are tested.
"""

import email
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.ground import code
from pipeline.ground.errors import PipelineError
from pipeline.inference.passport import Passport

MODEL, EXAMPLES = "model", "examples"
EXTRAS = ("web", "vad")
CONSTRAINTS = "constraints.txt"
APP = f'''\
"""The page of `ser web`, from any folder: `python app.py`."""

import os
import sys
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path.insert(0, str(next(here.glob("*.whl"))))

from ser_pipeline.pipeline.inference.page import running  # noqa: E402

running.run(
    str(here / "{MODEL}"),
    # A Space sets both, and stands behind a door of its own.
    host=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
    port=int(os.environ.get("GRADIO_SERVER_PORT", "7860")),
    examples=running.copies(sorted((here / "{EXAMPLES}").glob("*.wav"))),
)
'''


def write(out: Path, told: Passport) -> None:
    """Write all but ``model/`` and ``examples/`` into an existing folder.

    Raises:
        PipelineError: The wheel cannot be built.
    """
    wheel = build_wheel(out)
    pins = _pins(code.ROOT / CONSTRAINTS)
    needed = sorted(f"{name}=={pins[name]}" for name in dependencies(wheel))
    (out / "app.py").write_text(APP, "utf-8")
    (out / "requirements.txt").write_text("\n".join(needed) + "\n", "utf-8")
    (out / "README.md").write_text(readme(told, pins["gradio"]), "utf-8")


def build_wheel(folder: Path) -> Path:
    """Build this version's wheel into a folder, offline.

    Raises:
        PipelineError: What builds it is not installed, or fails.
    """
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=code.ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise PipelineError(
            f"hatchling: could not build the wheel ({why}), run `pip install hatchling` in the "
            "clone's environment"
        )
    return next(folder.glob("*.whl"))


def dependencies(wheel: Path) -> set[str]:
    """The names of what a wheel depends on, with `EXTRAS`."""
    with zipfile.ZipFile(wheel) as held:
        (name,) = (one for one in held.namelist() if one.endswith(".dist-info/METADATA"))
        told = email.message_from_bytes(held.read(name))
    return set(_needed(told.get_all("Requires-Dist") or []))


def readme(told: Passport, gradio: str) -> str:
    """The Space's front matter, and a page on what it is."""
    kind = "dimensions" if told.target == "dimensions" else "emotions"
    return f"""\
---
title: Speech emotion
sdk: gradio
sdk_version: {gradio}
python_version: "3.11"
app_file: app.py
license: other
short_description: Tells the {kind} of a recording, over time and live
---
# Speech emotion

The page of `ser web` with the model `{told.name}`, which tells the {kind}
{", ".join(told.classes)}. What it learnt from, its scores and the licences of its data and its
encoder: [{MODEL}/README.md]({MODEL}/README.md). The program is Apache-2.0.

Here: `pip install -r requirements.txt`, then `python app.py`. To the hub:
`hf upload OWNER/NAME . --repo-type space`. Nothing that is recorded or dropped is kept.
"""


def _needed(lines: list[str]) -> Iterator[str]:
    for line in lines:
        extra = re.search(r"extra == ['\"](\w+)['\"]", line)
        if extra is None or extra.group(1) in EXTRAS:
            yield _normal(re.split(r"[^\w.-]", line)[0])


def _pins(path: Path) -> dict[str, str]:
    pairs = (line.split("==") for line in path.read_text("utf-8").split())
    return {_normal(name): version for name, version in pairs}


def _normal(name: str) -> str:
    """As the index compares names (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
