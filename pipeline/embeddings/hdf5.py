"""HDF5 files with something for every frame of clips: what embeddings and units have in common.

``clip`` holds the clips' ids, sorted, and ``offsets``, int64 (clips + 1,), where each one's frames
begin in every dataset that has a row per frame. Plain h5py reads such a file, every chunk and every
header carries a checksum, and the same content gives the same bytes.
"""

import errno
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import h5py
import numpy as np
import numpy.typing as npt

from pipeline.ground import files
from pipeline.ground.errors import PipelineError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# The oldest format whose headers have checksums.
FORMAT = ("v110", "v110")
# Per dataset; HDF5's own choice would hold gigabytes where many layers of many files are open.
CACHE_BYTES = 2**20


class ClipFile:
    """Such a file, opened read-only; frames are read when they are asked for.

    Attributes:
        clips: The clips' ids, sorted.
        offsets: Where each clip's frames begin, int64 (clips + 1,).

    Raises:
        PipelineError: The file is missing, damaged or of another kind.
        OSError: Another program has it open for writing, or the operating system refuses it.
    """

    CONTENT: ClassVar[str]

    def __init__(self, path: Path) -> None:
        self._path = path
        files.require_file(path)
        with self._reading():
            self._file = h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES)
            self._require_own_data()
            self.clips: list[str] = self._file["clip"].asstr()[:].tolist()
            self.offsets: npt.NDArray[np.int64] = self._file["offsets"][:]
        self._rows = {clip: row for row, clip in enumerate(self.clips)}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _span(self, clip: str) -> tuple[int, int]:
        """Where the clip's frames begin and end."""
        if clip not in self._rows:
            raise PipelineError(
                f"{self._path}: no {self.CONTENT} of clip {clip!r}, run `dvc repro`"
            )
        start, stop = self.offsets[self._rows[clip] :][:2].tolist()
        return start, stop

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn what h5py raises over a damaged file into one line; the system's refusals stay."""
        try:
            yield
        except (OSError, KeyError, AttributeError, TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, OSError):
                _require_readable(self._path, error)
            reason = " ".join(str(error).replace("'", "").split())
            raise PipelineError(
                f"{self._path}: damaged ({reason}), delete it and run `dvc repro`"
            ) from None

    def _require_own_data(self) -> None:
        """Refuse links and external storage: h5py would read any file that they name."""
        for name in self._file:
            link = self._file.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"{name} is a link")
            if self._file[name].external or self._file[name].is_virtual:
                raise ValueError(f"{name} is stored elsewhere")


def _require_readable(path: Path, error: OSError) -> None:
    """Raise anew what says nothing of a file's content: it may be good, or is being written."""
    if error.errno == errno.EAGAIN or "already open for write" in str(error):
        told = "another program has it open for writing, or died with it open"
        raise BlockingIOError(errno.EAGAIN, told, str(path)) from None
    if error.errno:
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from None


class _Sink(io.FileIO):
    """A file that keeps a failed write to itself: HDF5 crashes where it cannot flush and close."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._path = path
        self._error: OSError | None = None

    def write(self, data: "ReadableBuffer") -> int:
        """Write all of ``data``, or remember why not."""
        left = memoryview(data).cast("B")
        try:
            while left:
                left = left[super().write(left) :]
        except OSError as error:
            self._error = error
        return memoryview(data).nbytes

    def require_whole(self) -> None:
        """Raise what a write was refused for."""
        if self._error:
            raise OSError(self._error.errno, self._error.strerror, str(self._path))


@contextmanager
def create(place: Path | io.BytesIO) -> Iterator[h5py.File]:
    """Create an HDF5 file, overwriting, and yield it open (not atomic); or make one in memory.

    Raises:
        OSError: It does not fit on the disk.
    """
    if isinstance(place, io.BytesIO):
        with h5py.File(place, "w", libver=FORMAT, rdcc_nbytes=CACHE_BYTES) as file:
            yield file
        return
    with _Sink(place) as sink:
        try:
            with h5py.File(sink, "w", libver=FORMAT, rdcc_nbytes=CACHE_BYTES) as file:
                yield file
        finally:
            sink.require_whole()


def finite(values: npt.NDArray[Any]) -> bool:
    """Whether there is neither a NaN nor an infinity, ten times as fast as numpy says it.

    Their bits, taken for an integer, are the greatest of each sign.
    """
    bits = {np.dtype(np.float16): "i2", np.dtype(np.float32): "i4"}.get(values.dtype)
    if bits is None:
        return bool(np.isfinite(values).all())
    return all(
        values.view(kind).max(initial=0) < np.array(least, values.dtype).view(kind)
        for kind, least in ((bits, np.inf), (bits.replace("i", "u"), -np.inf))
    )


def write_clips(file: h5py.File, clips: Sequence[str], offsets: npt.NDArray[np.int64]) -> None:
    """Write ``clip`` and ``offsets``."""
    ids = np.array([clip.encode() for clip in clips])
    text = h5py.string_dtype("utf-8", ids.dtype.itemsize)
    for name, data in (("clip", ids.astype(text)), ("offsets", offsets)):
        file.create_dataset(name, data=data, chunks=data.shape, fletcher32=True)
