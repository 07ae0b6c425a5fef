"""A small project for training stages, and torchrun on one node or several of this machine."""

import contextlib
import csv
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pipeline.cli.preset import merged
from pipeline.corpora import manifest
from pipeline.encoders import layout
from pipeline.ground import code, params
from pipeline.splits import folds
from tests.patience import PATIENCE_S
from tests.speech import small_encoder, tone_clips

# The last batch has one clip: one of two processes gets none.
OVERLAY = """
runtime: {device: cpu}
corpora: [tones]
pretrained: x
task:
  emotion: {classes: [angry, sad], merge: {}}
  affect: {dimensions: [arousal, valence], loss: ccc}
multitask: {batch: 17, epochs: 2, lstm_width: 8}
"""


def project() -> None:
    """Thirty rated clips, one fold, an untrained encoder and settings in the working directory."""
    change(OVERLAY)
    small_encoder(layout.ENCODERS / "x")
    rng, clips = np.random.default_rng(0), []
    made = tone_clips(30)
    for example in made:
        rated = {"arousal": 1.0 + example.label + rng.normal(0, 0.3), "valence": rng.uniform(1, 5)}
        clips.append(replace(example.clip, dimensions=rated))
    manifest.write(manifest.CLIPS / "tones" / "manifest.csv", clips)
    folds.write(folds.FOLDS, [{e.clip.clip: e.role for e in made}])


def change(overlay: str) -> None:
    """Merge an overlay into params.yaml."""
    path = Path("params.yaml")
    path.write_text(merged(path.read_text("utf-8"), overlay), "utf-8")
    params.read.cache_clear()


def run(words: Sequence[str], environment: Mapping[str, str], status: int = 0) -> str:
    """Run a stage by its command; what it says."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        env=variables(environment), capture_output=True, text=True, check=False,
        timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == status, (done.returncode, done.stderr)
    return done.stderr


def variables(changed: Mapping[str, str]) -> dict[str, str]:
    """Those of this process, with the project's code and programs."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PYTHONPATH": str(code.ROOT), "PATH": path} | dict(changed)


def on_nodes(
    homes: Sequence[Path], words: Sequence[str], **environment: str
) -> list[tuple[int, str]]:
    """Train with two processes, both in one folder or one in each, as nodes: status and stderr."""
    each, port = str(2 // len(homes)), str(free_port())
    torchrun = ["torch.distributed.run", "--nnodes", str(len(homes)), "--nproc-per-node", each]
    torchrun += ["--master-addr", "127.0.0.1", "--master-port", port, "--log-dir", "logs"]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", *torchrun, "--node-rank", str(rank), "-m", *words],
            cwd=home, env=variables(environment), text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for rank, home in enumerate(homes)
    ]  # fmt: skip
    said = [node.communicate(timeout=PATIENCE_S)[1] for node in started]
    return [(node.returncode, text) for node, text in zip(started, said, strict=True)]


def free_port() -> int:
    """A port that no one has, below those that the system hands out to whoever asks for any."""
    first = 20_000 + os.getpid() % 10_000
    for port in range(first, first + 1_000):
        with socket.socket() as there, contextlib.suppress(OSError):
            there.bind(("127.0.0.1", port))
            return port
    pytest.fail("no free port")


def copies(folder: Path, count: int) -> list[Path]:
    """The working directory and copies of it, as nodes that share nothing have them."""
    homes = [Path.cwd(), *(folder / str(number) for number in range(1, count))]
    for home in homes[1:]:
        shutil.copytree(homes[0], home)
    return homes


def published(out: Path) -> tuple[list[float], dict[str, Tensor]]:
    """Losses and weights that a stage has left."""
    with (out / "history.csv").open() as file:
        losses = [float(v) for row in csv.DictReader(file) for v in row.values() if v]
    return losses, load_file(next(out.glob("*model.safetensors")))


def require_alike(
    ours: tuple[list[float], dict[str, Tensor]], theirs: tuple[list[float], dict[str, Tensor]]
) -> None:
    """The same to float error, and not the same bytes: those would be one process's own."""
    assert ours[0] == pytest.approx(theirs[0], rel=1e-4)
    assert any(not torch.equal(value, theirs[1][name]) for name, value in ours[1].items())
    for name, value in ours[1].items():
        # A key's bias moves no attention: its gradient is rounding, whose sign Adam follows.
        if not name.endswith("k_proj.bias"):
            torch.testing.assert_close(theirs[1][name], value, rtol=1e-3, atol=1e-4, msg=name)
