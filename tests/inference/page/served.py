"""A model of two tones, and `ser web` on it in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.audio.segments import Cutting
from pipeline.cli import export
from pipeline.ground.code import ROOT
from pipeline.methods import preprocessing
from tests.methods.test_classifier import saved, trained
from tests.speech import small_encoder


def model_of(project: Path) -> Path:
    """An exported model whose clips are half a second long."""
    folder = saved(trained(small_encoder(project / "artifacts/encoders/tiny"), "full"), Path("m"))
    preprocessing.write(folder, Cutting(max_clip_s=0.5, last_clip="shorter", trim_db=None))
    export.main(folder, project / "model")
    return project / "model"


@contextmanager
def serving(*words: str | Path, **variables: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """``ser web`` with these words at a free port: its address, and the process."""
    command = [sys.executable, "-m", "ser_pipeline", "web", *map(str, words), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line.startswith("http://127.0.0.1:"), line
            yield line.split()[0], process
        finally:
            process.terminate()
            process.wait()
