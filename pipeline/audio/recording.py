"""A source file, read once: what is hashed, checked and decoded are the same bytes.

`pipeline.audio.containers` checks a `Recording`, `pipeline.audio.decoding` decodes it.
"""

import hashlib
import io
import os
import shutil
import tempfile
from functools import cached_property
from pathlib import Path
from typing import IO, Any, cast

from pipeline.ground import files
from pipeline.ground.errors import PipelineError

# Of a larger file, an hour of 24-bit stereo say, only what is decoded is brought into memory.
HELD_BYTES = 2**28
_COPIED_BYTES = 2**20  # at a time


class RejectedError(PipelineError):
    """A source that can't become a clip; ``code`` and ``detail`` make its row in `rejects.csv`."""

    def __init__(self, path: Path, code: str, detail: str) -> None:
        super().__init__(f"{path}: {code}, {detail}")
        self.code = code
        self.detail = detail


class Recording:
    """A source file as it was when it was opened.

    Up to ``held_bytes`` (`HELD_BYTES`) it is held in memory, where nobody else writes. A larger one
    stays open, and `require_unchanged` tells whether it was written to meanwhile. With ``content``
    it is what was read elsewhere of a file at ``path``, and no file is looked at.

    Attributes:
        path: Where it lies.
        file: Its bytes, to be read by whoever seeks first.
        size: Their number.
        note: What `pipeline.audio.containers.inspect` has to say of it, None before.
        md5: Of its samples, where the container says it.
        forward: What decodes its parts one after another, where a seek does not.

    Raises:
        RejectedError: ``undecodable``, it is no file.
        OSError: It cannot be opened.
    """

    def __init__(
        self, path: Path, content: bytes | None = None, held_bytes: int | None = None
    ) -> None:
        self.path = path
        self.note: str | None = None
        self.md5 = b""
        self.forward: Any = None
        self.file: IO[bytes]
        if content is not None:
            self.file, self.size, self._in_place = io.BytesIO(content), len(content), False
            return
        if not path.is_file():
            path.stat()
            raise RejectedError(path, "undecodable", "not a file (a folder, pipe or device)")
        self.file = path.open("rb")
        self._told = files.state(self.file.fileno())
        self.size = os.fstat(self.file.fileno()).st_size
        self._in_place = self.size > (HELD_BYTES if held_bytes is None else held_bytes)
        if not self._in_place:
            with self.file as opened:
                content = opened.read()
            self.file, self.size = io.BytesIO(content), len(content)

    @cached_property
    def sha256(self) -> str:
        """The checksum of the file's bytes, as 64 hex digits."""
        self.file.seek(0)
        file = cast("io.BufferedIOBase", self.file)  # all of them are, but for their types
        return hashlib.file_digest(file, "sha256").hexdigest()

    def read(self, start: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``start`` on; -1: all."""
        self.file.seek(start)
        return self.file.read(length)

    def anew(self) -> IO[bytes]:
        """The same bytes, for a reader with a position of its own."""
        if self._in_place:
            return self.path.open("rb")
        held = self.file.getvalue() if isinstance(self.file, io.BytesIO) else self.read(0, -1)
        return io.BytesIO(held)

    def mend(self, start: int, value: bytes, replaced: int | None = None) -> None:
        """Correct what a decoder is going to read; the file itself is never written to.

        ``value`` takes the place of ``replaced`` bytes from ``start`` on, by default as many. What
        was not held in memory is copied into a temporary file.

        Raises:
            PipelineError: Somebody wrote to it.
            OSError: The disk is full.
        """
        _ = self.sha256  # that of the file
        stop = start + (len(value) if replaced is None else replaced)
        held = isinstance(self.file, io.BytesIO)
        mended = io.BytesIO() if held else tempfile.TemporaryFile()  # noqa: SIM115 - as long as self
        for at in range(0, start, _COPIED_BYTES):
            mended.write(self.read(at, min(_COPIED_BYTES, start - at)))
        mended.write(value)
        self.file.seek(stop)
        shutil.copyfileobj(self.file, mended, _COPIED_BYTES)
        self.require_unchanged()
        self.file.close()
        self.file, self.size, self._in_place = mended, mended.tell(), False

    def require_unchanged(self) -> None:
        """Check that nobody wrote to a file that was not held in memory.

        Raises:
            PipelineError: Somebody did.
        """
        if self._in_place:
            self.require_same()

    def require_same(self) -> None:
        """Check that the file at ``path`` is what was opened, for who reads it by its path.

        Raises:
            PipelineError: It was replaced, or written to.
        """
        if files.state(self.path) != self._told:
            raise files.changed(self.path)
