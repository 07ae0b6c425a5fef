"""A small fold on disk, as `frames` leaves it: manifest, folds and frames of three roles."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.corpora import manifest
from pipeline.corpora.manifest import Clip
from pipeline.embeddings import reader
from pipeline.embeddings.reader import Embedding, Floats, Header
from pipeline.embeddings.writer import write
from pipeline.splits import folds
from tests import recordings

WIDTH = 12


def clip(name: str, speaker: str, gender: str = "female", emotion: str = "angry") -> Clip:
    return recordings.clip(
        name, corpus="demo", path=f"{name}.flac", speaker=speaker, gender=gender, emotion=emotion
    )


def write_frames(path: Path, clips: Sequence[Clip], frames: Mapping[str, Floats]) -> None:
    """Write embeddings of one layer, -3 of 12, in float32."""
    width = next(iter(frames.values())).shape[1]
    digest = reader.digest(clips)
    header = Header(
        f"multitask/{path.stem}", "", "", 12, width, 320, (-3,), (), "fp32", "float32", 1, digest
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [clip.clip for clip in clips]
    total = sum(len(frames[name]) for name in names)
    with write(path, header, names, total) as writer:
        for name in names:
            own = frames[name]
            writer.append(Embedding(len(own), {-3: own}, {}), name)


def write_fold(
    clips: Sequence[Clip], roles: Mapping[str, str], frames: Mapping[str, Floats]
) -> None:
    """Write what the stage reads of fold 0 under the working directory."""
    folder = manifest.CLIPS / "demo"
    folder.mkdir(parents=True)
    manifest.write(folder / "manifest.csv", clips)
    folds.write(folds.FOLDS, [dict(roles)])
    kept = [clip for clip in clips if roles[clip.clip] in ("train", "dev")]
    write_frames(manifest.ARTIFACTS / "frames" / "0.h5", kept, frames)


def mixture(rows: int, blobs: int, seed: int, width: int = WIDTH, noise: float = 0.3) -> Floats:
    """Frames around ``blobs`` centres of unit variance, in random order."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(blobs).standard_normal((blobs, width))
    found = centres[rng.integers(blobs, size=rows)] + noise * rng.standard_normal((rows, width))
    return found.astype(np.float32)


def brute_force(frames: Floats, centroids: Floats) -> Floats:
    """Squared distances, (frames, centroids), by their definition."""
    differences = frames[:, None].astype(np.float64) - centroids[None]
    squares: Floats = (differences**2).sum(2).astype(np.float32)
    return squares
