"""Embeddings in HDF5: what `extract` and `frames` write and everything after them reads.

One file (`pipeline.embeddings.hdf5`) holds a set of clips, sorted: the frames of some layers one
after another (``layer_<index>`` or ``last``, of shape (frames, width)), and the means over time of
some layers (``mean_<index>`` or ``mean_last``, float32, (clips, width)). The root's attributes say
what computed it. Nothing here imports torch.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import numpy.typing as npt

from pipeline.audio.formats import SAMPLE_RATE_HZ
from pipeline.corpora.manifest import ARTIFACTS, Clip
from pipeline.embeddings.hdf5 import ClipFile, finite
from pipeline.encoders.layers import Layer, frames_name, mean_name
from pipeline.ground import files
from pipeline.ground.errors import PipelineError

Floats = npt.NDArray[np.float32]
Precision = Literal["fp32", "bf16", "fp16"]

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Header:
    """What computed the embeddings; the root's attributes.

    ``blocks`` is the number of transformer blocks, 0 for a front end without weights; ``frames``
    and ``means`` the layers kept; ``clips_sha256`` the digest of the clips' ids and audio;
    ``provenance`` that of `pipeline.ground.provenance`.
    """

    encoder: str
    revision: str
    weights_sha256: str
    blocks: int
    width: int
    hop_samples: int
    frames: tuple[Layer, ...]
    means: tuple[Layer, ...]
    precision: str
    dtype: str
    numerics_version: int
    clips_sha256: str = ""
    provenance: str = ""

    def clip_bytes(self, length: int) -> int:
        """What a clip of ``length`` frames takes."""
        frames = len(self.frames) * length * np.dtype(self.dtype).itemsize
        return self.width * (frames + len(self.means) * np.dtype(np.float32).itemsize)


@dataclass(frozen=True)
class Embedding:
    """One clip's frames and means per layer kept: (length, width) of any float type, (width,)."""

    length: int
    frames: Mapping[Layer, npt.NDArray[Any]]
    means: Mapping[Layer, Floats]


@dataclass(frozen=True)
class Run:
    """Several clips, one behind the other: of each its length in frames.

    Per layer kept, frames (all lengths, width) of any float type, and means (clips, width).
    """

    lengths: Sequence[int]
    frames: Mapping[Layer, npt.NDArray[Any]]
    means: Mapping[Layer, Floats]

    @classmethod
    def of(cls, one: Embedding) -> "Run":
        """A single clip."""
        return cls([one.length], one.frames, {k: mean[None] for k, mean in one.means.items()})

    @classmethod
    def join(cls, runs: Sequence["Run"]) -> "Run":
        """Runs of the same layers, in their order."""
        if len(runs) == 1:
            return runs[0]
        return cls(
            [length for run in runs for length in run.lengths],
            {k: np.concatenate([run.frames[k] for run in runs]) for k in runs[0].frames},
            {k: np.concatenate([run.means[k] for run in runs]) for k in runs[0].means},
        )

    def clips(self) -> list[Embedding]:
        """Each clip alone; nothing is copied."""
        ends = np.cumsum(self.lengths).tolist()
        return [
            Embedding(
                length,
                {k: frames[end - length : end] for k, frames in self.frames.items()},
                {k: means[place] for k, means in self.means.items()},
            )
            for place, (length, end) in enumerate(zip(self.lengths, ends, strict=True))
        ]


def digest(clips: Sequence[Clip]) -> str:
    """A digest of the clips' ids and audio, whatever their labels say."""
    return files.digest([(clip.clip, clip.sha256) for clip in clips])


class Embeddings(ClipFile):
    """Embeddings opened read-only; nothing is read before it is asked for.

    Attributes:
        header: What computed them; `attributes` as a plain dictionary.

    Raises:
        PipelineError: The file is missing, damaged, not embeddings, of another encoder than
            ``encoder``, or of other clips or other audio than ``clips``.
    """

    CONTENT = "embedding"

    def __init__(
        self, path: Path, encoder: str | None = None, clips: Sequence[Clip] | None = None
    ) -> None:
        super().__init__(path)
        with self._reading():
            self.header = _header(self._file)
        if encoder is not None and self.header.encoder != encoder:
            raise PipelineError(
                f"{path}: made by encoder {self.header.encoder!r}, expected {encoder!r}, "
                "run `dvc repro`"
            )
        if clips is not None and self.header.clips_sha256 != digest(clips):
            raise PipelineError(f"{path}: made from other clips than listed, run `dvc repro`")

    @property
    def attributes(self) -> dict[str, Any]:
        """What computed the embeddings, as JSON-like data."""
        return asdict(self.header)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers whose frames are kept."""
        return self.header.frames

    @property
    def width(self) -> int:
        """Values in a frame."""
        return self.header.width

    @property
    def hop_s(self) -> float:
        """Seconds between the starts of two frames; 0 where a clip has one."""
        return self.header.hop_samples / SAMPLE_RATE_HZ

    def length(self, clip: str) -> int:
        """The clip's number of frames."""
        start, stop = self._span(clip)
        return stop - start

    def frames(self, clip: str, layer: Layer) -> Floats:
        """One clip's frames, float32 (frames, width).

        Raises:
            PipelineError: The clip or the layer is not there, or a chunk is damaged.
        """
        return self.rows(layer, *self._span(clip))

    def rows(self, layer: Layer, start: int, stop: int) -> Floats:
        """Frames ``start`` to ``stop`` of the file, across clips, float32 (stop - start, width)."""
        stored = self._read(frames_name(layer, self.header.blocks), start, stop)
        return stored.astype(np.float32, copy=False)

    def stored(self, layer: Layer, start: int, stop: int) -> npt.NDArray[Any]:
        """As `rows`, in the stored type, for a GPU to widen and to check (`require_finite`)."""
        return self._stored(frames_name(layer, self.header.blocks), start, stop)

    def require_finite(self, layer: Layer, finite: bool) -> None:
        """Stop where frames of ``layer`` were seen not to be ``finite``.

        Raises:
            PipelineError: They are not.
        """
        self._require_finite(frames_name(layer, self.header.blocks), finite)

    def means(self, layer: Layer) -> Floats:
        """The means over time of every clip, float32 (clips, width), in the order of `clips`."""
        return self._read(mean_name(layer, self.header.blocks), 0, len(self.clips))

    def embedding(self, clip: str) -> Embedding:
        """All that is kept of one clip, in the stored type."""
        self._span(clip)
        return self.run(self._rows[clip], 1).clips()[0]

    def run(self, row: int, count: int) -> Run:
        """All that is kept of the ``count`` clips from the one at place ``row`` of `clips` on."""
        offsets, blocks = self.offsets[row : row + count + 1], self.header.blocks
        start, stop = offsets[[0, -1]].tolist()
        return Run(
            np.diff(offsets).tolist(),
            {n: self._read(frames_name(n, blocks), start, stop) for n in self.header.frames},
            {n: self._read(mean_name(n, blocks), row, row + count) for n in self.header.means},
        )

    def row(self, clip: str) -> int:
        """The place of a clip in `clips`."""
        return self._rows[clip]

    def _read(self, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        values = self._stored(name, start, stop)
        self._require_finite(name, finite(values))
        return values

    def _stored(self, name: str, start: int, stop: int) -> npt.NDArray[Any]:
        if name not in self._file:
            kept = ", ".join(sorted(set(self._file) - {"clip", "offsets"}))
            raise PipelineError(
                f"{self._path}: no {name!r}, it holds {kept}, "
                "add the layer to extract.frames or extract.means in params.yaml"
            )
        with self._reading():
            values: npt.NDArray[Any] = self._file[name][start:stop]
        return values

    def _require_finite(self, name: str, finite: bool) -> None:
        if not finite:
            raise PipelineError(
                f"{self._path}: {name} has a NaN or an infinity, delete it and run `dvc repro`"
            )


def path_of(encoder: str, corpus: str) -> Path:
    """Where the embeddings of a corpus are."""
    return ARTIFACTS / "embeddings" / encoder / f"{corpus}.h5"


@contextmanager
def opened(encoder: str, clips: Sequence[Clip]) -> Iterator[list[Embeddings]]:
    """Open an encoder's embeddings of every corpus of ``clips``, all the clips of the manifests.

    Raises:
        PipelineError: A file is missing, damaged, or of another encoder, clips or audio.
    """
    by_corpus: dict[str, list[Clip]] = {}
    for clip in clips:
        by_corpus.setdefault(clip.corpus, []).append(clip)
    with ExitStack() as stack:
        yield [
            stack.enter_context(Embeddings(path_of(encoder, corpus), encoder, own))
            for corpus, own in by_corpus.items()
        ]


def paths(encoder: str, corpora: Sequence[str]) -> list[Path]:
    """Where an encoder's embeddings of each corpus are."""
    return [path_of(encoder, corpus) for corpus in corpora]


class ClipFrames:
    """One layer's frames, clip by clip: a map-style dataset for torch's DataLoader.

    Every process opens the file for itself, since HDF5 does not survive a fork.
    """

    def __init__(self, path: Path, layer: Layer) -> None:
        self._path, self._layer = path, layer
        self._owner = -1
        with Embeddings(path) as embeddings:
            self._length = len(embeddings.clips)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, row: int) -> tuple[str, Floats]:
        if self._owner != os.getpid():
            self._embeddings, self._owner = Embeddings(self._path), os.getpid()
        clip = self._embeddings.clips[row]
        return clip, self._embeddings.frames(clip, self._layer)


def _header(file: h5py.File) -> Header:
    values: dict[str, Any] = dict(file.attrs)
    version = values.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema version {version}, expected {SCHEMA_VERSION}")
    checksum = values.pop("digest", None)
    for name in ("frames", "means"):
        values[name] = tuple(json.loads(values[name]))
    plain: dict[str, Any] = {
        key: int(value) if isinstance(value, np.integer) else value for key, value in values.items()
    }
    header = Header(**plain)
    if files.digest(asdict(header)) != checksum:
        raise ValueError("its attributes do not fit their digest")
    return header
