"""Units on disk: what `cluster` writes and `retrain` reads.

``units.h5`` is aligned with the frames that were clustered: the same clips (``clip``) under the
same ``offsets``, and one integer dataset ``k<centroids>`` of shape (frames,) per scale. In
``codebooks.safetensors`` a scale's centroids, float32 (centroids, width), bear the same name. Plain
h5py reads the file, every chunk and header carries a checksum, and nothing here imports faiss.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from pipeline.errors import PipelineError

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float32]

SCHEMA_VERSION = 1
CHUNK_FRAMES = 2**14
# The oldest format whose headers have checksums.
FORMAT = ("v110", "v110")


class Units:
    """The units of one fold, opened read-only; a clip's are read when they are asked for.

    Attributes:
        clips: The clips' ids, sorted.
        offsets: Where each clip's frames begin, int64 (clips + 1,).
        scales: The numbers of centroids, ascending.

    Raises:
        PipelineError: The file is missing, damaged or no units file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = h5py.File(path, "r")
            self.scales: list[int] = self._file.attrs["scales"].tolist()
            self.clips: list[str] = self._own("clip").asstr()[:].tolist()
            self.offsets: npt.NDArray[np.int64] = self._own("offsets")[:]
            self._datasets = [self._own(_name(scale)) for scale in self.scales]
        except (OSError, KeyError, AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise self._failure(error) from None
        self._rows = {clip: row for row, clip in enumerate(self.clips)}

    def units(self, clip: str) -> Ints:
        """One clip's units, (scales, frames), int16 or int32.

        Raises:
            PipelineError: The clip is not there, or a chunk is damaged.
        """
        if clip not in self._rows:
            raise PipelineError(f"{self._path}: no units of clip {clip!r}, run `dvc repro cluster`")
        row = self._rows[clip]
        start, stop = int(self.offsets[row]), int(self.offsets[row + 1])
        try:
            return np.stack([dataset[start:stop] for dataset in self._datasets])
        except OSError as error:
            raise self._failure(error) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _own(self, name: str) -> h5py.Dataset:
        """A dataset that lies in this file: h5py would follow a link to any other."""
        if not isinstance(self._file.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is a link")
        if self._file[name].external or self._file[name].is_virtual:
            raise ValueError(f"{name} is stored elsewhere")
        return self._file[name]

    def _failure(self, error: Exception) -> PipelineError:
        if not self._path.is_file():
            return PipelineError(f"{self._path}: no such file, run `dvc repro cluster`")
        reason = " ".join(str(error).replace("'", "").split())
        return PipelineError(f"{self._path}: damaged ({reason}), delete it and run `dvc repro`")


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
    ids = np.array([clip.encode() for clip in clips])
    with h5py.File(path, "w", libver=FORMAT) as file:
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["scales"] = np.array(scales, np.int64)
        text = h5py.string_dtype("utf-8", ids.dtype.itemsize)
        for name, data in (("clip", ids.astype(text)), ("offsets", offsets)):
            file.create_dataset(name, data=data, chunks=data.shape, fletcher32=True)
        yield Writer(file, scales, int(offsets[-1]))


def save_codebooks(path: Path, codebooks: Mapping[int, Floats]) -> None:
    """Write the centroids of every scale."""
    save_file({_name(scale): centroids for scale, centroids in codebooks.items()}, path)


def read_codebooks(path: Path) -> dict[int, Floats]:
    """The centroids of every scale, ascending, (centroids, width) each."""
    found = {int(name.removeprefix("k")): values for name, values in load_file(path).items()}
    return dict(sorted(found.items()))


def _name(scale: int) -> str:
    return f"k{scale}"
