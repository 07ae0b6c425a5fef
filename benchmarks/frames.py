"""Frames for `benchmarks.cluster`, in an embeddings file as `extract` writes it, in float16."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.embeddings.reader import Embedding, Embeddings, Floats, Header
from pipeline.embeddings.writer import write

CLIP_FRAMES = 200
BLOCK_FRAMES = 8_192


def store(
    path: Path, clips: Iterable[npt.NDArray[Any]], width: int, lengths: Sequence[int]
) -> None:
    """Write clips of frames, of these lengths."""
    header = Header("", "", "", 12, width, 320, (-3,), (), "fp32", "float16", 1)
    names = [f"{number:07d}" for number in range(len(lengths))]
    with write(path, header, names, sum(lengths)) as file:
        for name, frames in zip(names, clips, strict=True):
            file.append(Embedding(len(frames), {-3: frames}, {}), name)


def speech(folders: Sequence[Path], every: int) -> list[npt.NDArray[np.float16]]:
    """Log mel energies of FLAC files, less the clip's mean, 12 neighbours side by side: 768.

    As wide as HuBERT base's frames, of real speech, and without published weights.
    """
    import librosa
    import soundfile

    made = []
    for file in sorted(file for folder in folders for file in folder.rglob("*.flac"))[::every]:
        samples, rate_hz = soundfile.read(file, dtype="float32")
        power = librosa.feature.melspectrogram(
            y=samples, sr=rate_hz, n_fft=400, hop_length=160, n_mels=64, center=False
        )
        energies = np.log(power + 1e-6).T
        energies -= energies.mean(0)
        stacked = np.lib.stride_tricks.sliding_window_view(energies, 12, axis=0)[::2]
        made.append(stacked.reshape(len(stacked), -1).astype(np.float16))
    return made


def synthesise(lengths: Sequence[int], width: int) -> Iterator[Floats]:
    """Clips of a mixture of 2,000 Gaussians of unequal weight and spread around 40 centres."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((40, width))[rng.integers(40, size=2000)]
    centres = (centres + 0.7 * rng.standard_normal((2000, width))).astype(np.float32)
    weights = np.cumsum(rng.dirichlet(np.full(2000, 0.5)))
    spreads = rng.uniform(0.3, 0.8, 2000).astype(np.float32)
    for length in lengths:
        part = np.searchsorted(weights[:-1], rng.random(length))
        noise = rng.standard_normal((length, width), np.float32)
        yield centres[part] + spreads[part, None] * noise


def everything(path: Path) -> Floats:
    """All frames of a file in memory, as the peers need them, read without a second copy."""
    with Embeddings(path) as frames:
        total = int(frames.offsets[-1])
        found = np.empty((total, frames.width), np.float32)
        for start in range(0, total, BLOCK_FRAMES):
            stop = min(start + BLOCK_FRAMES, total)
            found[start:stop] = frames.rows(frames.layers[0], start, stop)
    return found
