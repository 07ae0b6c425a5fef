"""A small rated corpus for tests of emotion shares: manifest, folds and cached frames."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.corpora import manifest
from pipeline.corpora.manifest import Clip
from pipeline.embeddings import reader, writer
from pipeline.embeddings.frames import Frames
from pipeline.splits import folds
from tests import recordings

WIDTH = 6
HEADER = reader.Header(
    encoder="fbank",
    revision="",
    weights_sha256="",
    blocks=0,
    width=WIDTH,
    hop_samples=160,
    frames=("last",),
    means=(),
    precision="fp32",
    dtype="float32",
    numerics_version=1,
)
EMOTIONS = ("anger", "calmness", "interest")


def clip_of(name: str, corpus: str = "demo", segment: str = "") -> Clip:
    """A clip of which only names matter; its audio does not exist."""
    return recordings.clip(
        name,
        clip=f"{corpus}/{name}{segment}",
        corpus=corpus,
        path=f"{name}.flac",
        source=f"wav/{name}.wav",
        speaker=f"{corpus}/s{int(name) % 4}",
        gender="unknown",
        session="",
        emotion="",
        language="",
    )


def rated_corpus(
    count: int, corpus: str = "demo", seed: int = 0
) -> tuple[list[Clip], dict[str, str], dict[str, np.ndarray]]:
    """Clips whose shares their frames tell: share i is the mean of feature i, plus noise.

    Returns:
        Clips, their roles (3 train to 1 dev to 1 test), and their frames (frames, WIDTH).
    """
    rng = np.random.default_rng(seed)
    clips, roles, frames = [], {}, {}
    for number in range(count):
        shares = {e: float(v) for e, v in zip(EMOTIONS, rng.uniform(0, 1, 3), strict=True)}
        values = rng.normal(size=(int(rng.integers(8, 30)), WIDTH)) * 0.3
        values[:, :3] += 2 * np.array(list(shares.values()))
        clip = replace(clip_of(f"{number:03d}", corpus), duration_s=len(values) / 100)
        clips.append(replace(clip, shares=shares))
        frames[clip.clip] = values.astype(np.float32)
        roles[clip.clip] = ("train", "train", "train", "dev", "test")[number % 5]
    return clips, roles, frames


def write_project(
    clips: list[Clip], roles: dict[str, str], frames: dict[str, np.ndarray], features: str = "fbank"
) -> None:
    """Lay the corpora out under artifacts/ of the working directory, as the stages do."""
    for corpus in sorted({clip.corpus for clip in clips}):
        members = [clip for clip in clips if clip.corpus == corpus]
        folder = Path("artifacts/clips") / corpus
        folder.mkdir(parents=True, exist_ok=True)
        manifest.write(folder / "manifest.csv", members)
        path = Path("artifacts/embeddings") / features / f"{corpus}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        header = replace(HEADER, encoder=features, clips_sha256=reader.digest(members))
        write_embeddings(path, {clip.clip: frames[clip.clip] for clip in members}, header)
    folds.write(folds.FOLDS, [roles])


def write_embeddings(
    path: Path, frames: dict[str, np.ndarray], header: reader.Header = HEADER
) -> None:
    """Write one file of cached frames."""
    total, width = sum(map(len, frames.values())), len(next(iter(frames.values()))[0])
    header = replace(header, width=width)
    with writer.write(path, header, sorted(frames), total) as rows:
        for clip in sorted(frames):
            embedding = reader.Embedding(len(frames[clip]), {"last": frames[clip]}, {})
            rows.append(embedding, clip)


@contextmanager
def cached(path: Path, frames: dict[str, np.ndarray]) -> Iterator[Frames]:
    """The frames written to a file and opened."""
    write_embeddings(path, frames)
    with reader.Embeddings(path) as opened:
        yield Frames([opened], "last")
