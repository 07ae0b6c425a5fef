"""Writing embeddings: clip by clip, in constant memory, refusing what can't be stored.

`extraction` writes shards of finished clips and then the whole file, both with `write`; the format
is that of `pipeline.embeddings.reader`.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from pipeline.embeddings.hdf5 import create, write_clips
from pipeline.embeddings.reader import SCHEMA_VERSION, Embedding, Header
from pipeline.encoders.layers import Layer, frames_name, mean_name
from pipeline.ground import files
from pipeline.ground.errors import PipelineError

# About one clip of a base model in float16: a clip is read in one or two pieces.
CHUNK_BYTES = 2**18


class Writer:
    """Takes the clips of a file one by one, in the order of ``clips``."""

    def __init__(self, file: h5py.File, header: Header, clips: Sequence[str], frames: int) -> None:
        self._header, self._clips, self._done = header, clips, 0
        self._offsets = np.zeros(len(clips) + 1, np.int64)
        self._file = file
        rows = max(1, CHUNK_BYTES // (header.width * np.dtype(header.dtype).itemsize))
        for layer in header.frames:
            name, shape = frames_name(layer, header.blocks), (frames, header.width)
            _create(file, name, shape, header.dtype, min(rows, frames))
        for layer in header.means:
            name, shape = mean_name(layer, header.blocks), (len(clips), header.width)
            _create(file, name, shape, "float32", min(rows, len(clips)))

    def append(self, embedding: Embedding, name: str) -> None:
        """Write the next clip.

        Raises:
            PipelineError: A value is not finite once it is stored; the message calls the clip
                ``name``, gives the layer and the remedy.
        """
        start = self._offsets[self._done]
        stop = start + embedding.length
        for layer, frames in embedding.frames.items():
            with np.errstate(over="ignore"):
                stored = frames.astype(self._header.dtype, copy=False)
            _require_finite(name, layer, frames, stored, self._header.precision)
            self._file[frames_name(layer, self._header.blocks)][start:stop] = stored
        for layer, mean in embedding.means.items():
            _require_finite(name, layer, mean, mean, self._header.precision)
            self._file[mean_name(layer, self._header.blocks)][self._done] = mean
        self._done += 1
        self._offsets[self._done] = stop

    def finish(self) -> None:
        """Write what is known at the end."""
        write_clips(self._file, self._clips, self._offsets)


@contextmanager
def write(path: Path, header: Header, clips: Sequence[str], frames: int) -> Iterator[Writer]:
    """Create a file and yield its `Writer` (not atomic: the caller publishes or renames it).

    Args:
        path: The file, overwritten.
        header: What computes the embeddings.
        clips: The clips' ids, sorted.
        frames: The number of frames of all clips.
    """
    with create(path) as file:
        for name, value in asdict(header).items():
            # Text of one kind: h5py has no type for a list of numbers and names.
            file.attrs[name] = json.dumps(value) if isinstance(value, tuple) else value
        file.attrs["schema_version"] = SCHEMA_VERSION
        # HDF5 keeps text where its own checksums do not reach.
        file.attrs["digest"] = files.digest(asdict(header))
        writer = Writer(file, header, clips, frames)
        yield writer
        writer.finish()


def _create(file: h5py.File, name: str, shape: tuple[int, int], dtype: str, rows: int) -> None:
    file.create_dataset(name, shape, dtype, chunks=(rows, shape[1]), fletcher32=True)


def _require_finite(
    name: str,
    layer: Layer,
    computed: npt.NDArray[Any],
    stored: npt.NDArray[Any],
    precision: str,
) -> None:
    if np.isfinite(stored).all():
        return
    if np.isfinite(computed).all():
        peak = float(np.abs(computed).max())
        raise PipelineError(
            f"{name}: layer {layer} reaches {peak:.3g}, beyond {stored.dtype}, "
            "set its dtype in params.yaml to float32"
        )
    if precision == "fp16":
        raise PipelineError(
            f"{name}: layer {layer} has a NaN or an infinity, fp16 ends at 65504, "
            "set its precision in params.yaml to bf16 or fp32"
        )
    raise PipelineError(
        f"{name}: layer {layer} has a NaN or an infinity, the encoder's weights are broken, "
        "or its training diverged: lower the learning rate"
    )
