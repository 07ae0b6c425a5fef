"""Units on disk: what `cluster` writes and `retrain` reads.

``units.h5`` (`pipeline.embeddings.hdf5`) is aligned with the frames that were clustered: the same
``clip`` and ``offsets``, and one integer dataset ``k<centroids>`` of shape (frames,) per scale. In
``codebooks.safetensors`` a scale's centroids, float32 (centroids, width), bear the same name.
Nothing here imports faiss.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from pipeline.embeddings.hdf5 import ClipFile, create, write_clips
from pipeline.ground import files

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float32]

SCHEMA_VERSION = 1
CHUNK_FRAMES = 2**14


class Units(ClipFile):
    """The units of one fold, opened read-only; a clip's are read when they are asked for.

    Attributes:
        scales: The numbers of centroids, ascending.

    Raises:
        PipelineError: The file is missing, damaged or no units file.
    """

    CONTENT = "units"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with self._reading():
            self.scales: list[int] = self._file.attrs["scales"].tolist()
            self._datasets = [self._file[_name(scale)] for scale in self.scales]

    def units(self, clip: str) -> Ints:
        """One clip's units, (scales, frames), int16 or int32.

        Raises:
            PipelineError: The clip is not there, or a chunk is damaged.
        """
        start, stop = self._span(clip)
        with self._reading():
            return np.stack([dataset[start:stop] for dataset in self._datasets])


class Writer:
    """Takes the units of all frames in order, block by block."""

    def __init__(self, file: h5py.File, scales: Sequence[int], frames: int) -> None:
        self._done = 0
        self._datasets = {
            scale: file.create_dataset(
                _name(scale),
                (frames,),
                "int16" if scale <= 2**15 else "int32",
                chunks=(min(frames, CHUNK_FRAMES),),
                fletcher32=True,
            )
            for scale in scales
        }

    def append(self, units: Mapping[int, Ints]) -> None:
        """Write the units of the next frames, (frames,) for every scale."""
        stop = self._done + len(next(iter(units.values())))
        for scale, dataset in self._datasets.items():
            dataset[self._done : stop] = units[scale]
        self._done = stop


@contextmanager
def write(
    path: Path, clips: Sequence[str], offsets: npt.NDArray[np.int64], scales: Sequence[int]
) -> Iterator[Writer]:
    """Create ``units.h5`` and yield its `Writer` (not atomic: the caller publishes the folder)."""
    with create(path) as file:
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["scales"] = np.array(scales, np.int64)
        write_clips(file, clips, offsets)
        yield Writer(file, scales, int(offsets[-1]))


def save_codebooks(path: Path, codebooks: Mapping[int, Floats]) -> None:
    """Write the centroids of every scale."""
    save_file({_name(scale): centroids for scale, centroids in codebooks.items()}, path)


def read_codebooks(path: Path) -> dict[int, Floats]:
    """The centroids of every scale, ascending, (centroids, width) each."""
    with files.unchanged(path):
        files.require_intact(path)
        found = load_file(path)
    return dict(sorted((int(name.removeprefix("k")), values) for name, values in found.items()))


def _name(scale: int) -> str:
    return f"k{scale}"
