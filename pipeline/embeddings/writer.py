"""Writing embeddings: clips in runs, in constant memory, refusing what can't be stored.

`extraction` writes shards of finished clips and then the whole file, both with `write`; the format
is that of `pipeline.embeddings.reader`.
"""

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np
import numpy.typing as npt

from pipeline.embeddings.hdf5 import create, finite, write_clips
from pipeline.embeddings.reader import SCHEMA_VERSION, Embedding, Header, Run
from pipeline.encoders.layers import Layer, frames_name, mean_name
from pipeline.ground import files
from pipeline.ground.errors import PipelineError

# About one clip of a base model in float16: a clip is read in one or two pieces.
CHUNK_BYTES = 2**18


class Writer:
    """Takes the clips of a file, one or several at a time, in the order of ``clips``."""

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
        """Write the next clip; errors as those of `extend`."""
        self.extend(Run.of(embedding), [name])

    def extend(self, run: Run, names: Sequence[str]) -> None:
        """Write the next clips, a layer at a time.

        Raises:
            PipelineError: A value is not finite once it is stored; the message calls the clip by
                its name among ``names``, gives the layer and the remedy.
        """
        start, ends = self._offsets[self._done], np.cumsum(run.lengths)
        blocks, dtype = self._header.blocks, self._header.dtype
        for layer, frames in run.frames.items():
            with np.errstate(over="ignore"):
                stored = frames.astype(dtype, copy=False)
            if not finite(stored):
                _refuse(layer, np.split(frames, ends[:-1]), names, self._header)
            self._put(frames_name(layer, blocks), start, stored)
        for layer, means in run.means.items():
            if not finite(means):
                _refuse(layer, list(means), names, replace(self._header, dtype="float32"))
            self._put(mean_name(layer, blocks), self._done, means)
        after = self._done + len(names)
        self._offsets[self._done + 1 : after + 1] = start + ends
        self._done = after

    def _put(self, name: str, start: int, values: npt.NDArray[Any]) -> None:
        self._file[name][start : start + len(values)] = values

    def finish(self) -> None:
        """Write what is known at the end."""
        write_clips(self._file, self._clips, self._offsets)


@contextmanager
def write(
    place: Path | io.BytesIO, header: Header, clips: Sequence[str], frames: int
) -> Iterator[Writer]:
    """Create a file and yield its `Writer` (not atomic: the caller publishes or renames it).

    Args:
        place: The file, overwritten, or memory.
        header: What computes the embeddings.
        clips: The clips' ids, sorted.
        frames: The number of frames of all clips.
    """
    with create(place) as file:
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


def _refuse(
    layer: Layer, computed: Sequence[npt.NDArray[Any]], names: Sequence[str], header: Header
) -> NoReturn:
    """Name the first of the clips that cannot be stored, and say what helps."""
    with np.errstate(over="ignore"):
        fits = [finite(values.astype(header.dtype)) for values in computed]
    name, values = names[fits.index(False)], computed[fits.index(False)]
    if finite(values):
        peak = float(np.abs(values).max())
        raise PipelineError(
            f"{name}: layer {layer} reaches {peak:.3g}, beyond {header.dtype}, "
            "set its dtype in params.yaml to float32"
        )
    if header.precision == "fp16":
        raise PipelineError(
            f"{name}: layer {layer} has a NaN or an infinity, fp16 ends at 65504, "
            "set its precision in params.yaml to bf16 or fp32"
        )
    raise PipelineError(
        f"{name}: layer {layer} has a NaN or an infinity, the encoder's weights are broken, "
        "or its training diverged: lower the learning rate"
    )
