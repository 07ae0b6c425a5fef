"""A model of two tones, and `ser web` on it in a process of its own."""

import base64
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gradio_client import Client, handle_file

from pipeline.audio.segments import Cutting
from pipeline.cli import export
from pipeline.ground.code import ROOT
from pipeline.methods import preprocessing
from tests.methods.test_classifier import saved, trained
from tests.speech import small_encoder

WEB = (sys.executable, "-m", "ser_pipeline", "web")


def model_of(project: Path) -> Path:
    """An exported model whose clips are half a second long."""
    folder = saved(trained(small_encoder(project / "artifacts/encoders/tiny"), "full"), Path("m"))
    preprocessing.write(folder, Cutting(max_clip_s=0.5, last_clip="shorter", trim_db=None))
    export.main(folder, project / "model")
    return project / "model"


@contextmanager
def serving(
    command: Sequence[str | Path], at: Path = ROOT, **variables: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A process that serves a page, with one thread: its address, and itself."""
    words = [*map(str, command)]
    plain = {name: value for name, value in os.environ.items() if name != "SER_TOKEN"}
    with subprocess.Popen(
        words, cwd=at, env=plain | variables, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line.startswith("http://127.0.0.1:"), line
            yield line.split()[0], process
        finally:
            process.terminate()
            process.wait()


def asked(address: str, file: Path) -> dict[str, str]:
    """What the page says of a file: as HTML, and as its links save it, by their suffix."""
    client = Client(address, verbose=False, analytics_enabled=False, download_files=False)
    html = client.predict(handle_file(file), "as in training", 0.5, api_name="/listen")
    found = re.findall(r'download="[^"]*\.(\w+)" href="data:[^;]*;base64,([^"]*)"', html)
    return {"html": html} | {kind: base64.b64decode(text).decode() for kind, text in found}
