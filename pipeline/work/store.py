"""Finished pieces of work kept between runs, by key: an append-only log for each process.

`pipeline.corpora.prepare` keeps the clips of each utterance in one, in the stage's scratch folder.
A log is far cheaper than a file per piece. A killed process leaves at worst a torn last record,
which is passed over; every record is checked when it is read.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_KEY_BYTES = 32
_HEADER_BYTES = _KEY_BYTES + 8 + 32  # key, length of the content, its SHA-256


class Store:
    """What the logs in a folder hold; keys are `pipeline.ground.files.digest`\\ s."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: BinaryIO | None = None
        self._places = {
            key: (path, offset, size)
            for path in sorted(folder.glob("*.log"))
            if path.is_file()
            for key, offset, size in _scan(path)
        }

    def get(self, key: str) -> bytes | None:
        """The content under ``key``, None where there is none or it is damaged."""
        if key not in self._places:
            return None
        path, offset, size = self._places[key]
        with path.open("rb") as log:
            log.seek(offset)
            record = log.read(_HEADER_BYTES + size)
        content = record[_HEADER_BYTES:]
        return content if record[:_HEADER_BYTES] == _header(key, content) else None

    def put(self, key: str, content: bytes) -> None:
        """Append content to this process's log; other stores see it once they are opened anew."""
        if self._own is None:
            handle, _ = tempfile.mkstemp(".log", dir=self._folder)
            self._own = os.fdopen(handle, "wb", buffering=0)
        self._own.write(_header(key, content) + content)


def _header(key: str, content: bytes) -> bytes:
    return key.encode() + len(content).to_bytes(8, "big") + hashlib.sha256(content).digest()


def _scan(path: Path) -> Iterator[tuple[str, int, int]]:
    """Yield (key, offset, size) of the records that are whole in length."""
    with path.open("rb") as log:
        end = os.fstat(log.fileno()).st_size
        offset = 0
        while len(header := log.read(_HEADER_BYTES)) == _HEADER_BYTES:
            size = int.from_bytes(header[_KEY_BYTES : _KEY_BYTES + 8], "big")
            if offset + _HEADER_BYTES + size > end:
                return
            yield header[:_KEY_BYTES].decode("ascii", "replace"), offset, size
            offset += _HEADER_BYTES + size
            log.seek(offset)
