"""The peak memory of stages does not follow the corpus: four times the data, at most 1.2 times.

`preprocess` is in tests/faults/test_preprocess_faults.py. Each stage runs as a command on inputs
that would raise its peak well beyond that if it held all of them.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.audio.flac import write_flac
from pipeline.cli.preset import merged
from pipeline.corpora import manifest
from pipeline.corpora.manifest import Clip
from pipeline.embeddings import reader
from pipeline.embeddings.reader import Embedding, Header
from pipeline.embeddings.writer import write
from pipeline.ground import files
from pipeline.ground.code import ROOT
from pipeline.splits import folds
from tests.patience import PATIENCE_S
from tests.recordings import clip

OVERLAY = """
encoders: [fbank]
features: [fbank]
runtime: {workers: 1, device: cpu}
frames: {layer: last}
cluster: {scales: [2, 4], sample: 400, iterations: 2}
task: {share: {emotions: [grief, joy]}}
networks:
  model: {conv: [2, 2], lstm_width: 2, feed_forward: {cnn-lstm: [2, 2]}}
  training: {epochs: 1, batch: 4, standardize: true}
"""
PEAK = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stderr=subprocess.PIPE, text=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.stderr if done.returncode else 0)
"""
WIDTH, FRAMES = 512, 2_000
SMALL = 12  # clips


def peak_kb(command: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PEAK, sys.executable, "-m", *command.split()],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def manifest_of(count: int) -> list[Clip]:
    """Clips of speech shares, three of four in train and one in each eight in dev and test."""
    shares = [{"joy": n % 5 / 5, "grief": n % 3 / 3} for n in range(count)]
    made = [
        clip(f"{n:04d}", corpus="demo", duration_s=18.0, sha256=f"{n:064d}", shares=shares[n])
        for n in range(count)
    ]
    folder = manifest.CLIPS / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    manifest.write(folder / "manifest.csv", made)
    roles = ("train", "train", "train", "dev", "train", "train", "train", "test")
    folds.write(folds.FOLDS, [{c.clip: roles[n % 8] for n, c in enumerate(made)}])
    return made


def frames_of(path: Path, clips: list[Clip], encoder: str) -> None:
    """Embeddings of ``FRAMES`` frames a clip, 2 MB each as they are stored, 4 MB in float32."""
    digest = reader.digest(clips)
    header = Header(encoder, "", "", 0, WIDTH, 160, ("last",), (), "fp32", "float16", 1, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).standard_normal((FRAMES, WIDTH)).astype(np.float16)
    with write(path, header, [c.clip for c in clips], FRAMES * len(clips)) as writer:
        for number, one in enumerate(clips):
            writer.append(Embedding(FRAMES, {"last": np.roll(noise, number, 0)}, {}), one.clip)


def for_extract(count: int) -> None:
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 18 * 16_000).astype(np.float32)
    clips = manifest_of(2 * count)
    made = []
    for number, one in enumerate(clips):
        one.file.parent.mkdir(parents=True, exist_ok=True)
        sha256 = write_flac(one.file, np.roll(noise, number))
        made.append(Clip(**{**vars(one), "sha256": sha256}))
    manifest.write(manifest.CLIPS / "demo" / "manifest.csv", made)
    settings = {"kind": "fbank", "bands": 40, "window_ms": 25.0, "hop_ms": 10.0, "high_hz": 8000.0}
    folder = Path("artifacts/encoders/fbank")
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / "config.json", settings)


def for_cluster(count: int) -> None:
    clips, roles = manifest_of(count), folds.read(0)
    kept = [one for one in clips if roles[one.clip] in ("train", "dev")]
    frames_of(Path("artifacts/frames/0.h5"), kept, "multitask/0")


def for_networks(count: int) -> None:
    frames_of(reader.path_of("fbank", "demo"), manifest_of(count), "fbank")


@pytest.mark.parametrize(
    ("prepare", "command"),
    [
        (for_extract, "stages.extract --encoder fbank --corpus demo"),
        (for_cluster, "stages.cluster --fold 0"),
        (for_networks, "stages.networks --task share --features fbank --method cnn-lstm --fold 0"),
    ],
    ids=["extract", "cluster", "networks"],
)
def test_memory_does_not_grow_with_the_corpus(
    project: Path, prepare: Callable[[int], None], command: str
) -> None:
    text = Path("params.yaml").read_text("utf-8")
    Path("params.yaml").write_text(merged(text, OVERLAY), "utf-8")
    peaks = []
    for clips in (SMALL, 4 * SMALL):
        prepare(clips)
        peaks.append(peak_kb(command))
    # Held in float32, what was added is 80 MB (extract), 126 MB (cluster) and 144 MB (networks).
    assert peaks[1] <= 1.2 * peaks[0], peaks
