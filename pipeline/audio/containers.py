"""What a file's own header says, read before any decoder sees it.

`pipeline.audio.decoding` calls `inspect` first: libsndfile shortens a truncated WAV or Ogg file in
silence, and only the uncompressed and the common lossy codecs are let through to it (ADPCM decoders
have a history of memory errors).
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pipeline.ground.errors import PipelineError

# WAVE format tags: PCM, IEEE float, A-law, mu-law; 0xFFFE defers to its sub-format.
_WAVE_TAGS = {0x0001, 0x0003, 0x0006, 0x0007}
_EXTENSIBLE = 0xFFFE
_AIFC_CODECS = {b"NONE", b"sowt", b"twos", b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64"}
_AIFC_CODECS |= {b"ulaw", b"ULAW", b"alaw", b"ALAW"}
_STREAMED = 0xFFFFFFFF  # a size that the writer could not know
_OGG_PAGE_MAX_BYTES = 27 + 255 + 255 * 255


class RejectedError(PipelineError):
    """A source that can't become a clip; ``code`` and ``detail`` make its row in `rejects.csv`."""

    def __init__(self, path: Path, code: str, detail: str) -> None:
        super().__init__(f"{path}: {code}, {detail}")
        self.code = code
        self.detail = detail


def inspect(path: Path) -> None:
    """Check the container, its codec and that the file holds all that its header declares.

    Raises:
        RejectedError: ``empty``, ``lfs_pointer``, ``undecodable``, ``unsupported`` or
            ``truncated``.
    """
    with path.open("rb") as file:
        head = file.read(64)
        size = os.fstat(file.fileno()).st_size
        if not head:
            raise RejectedError(path, "empty", "the file has no bytes")
        if head.startswith(b"version https://git-lfs"):
            raise RejectedError(path, "lfs_pointer", "a Git LFS pointer, run `git lfs pull`")
        if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
            _wave(path, file, size)
        elif head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
            _aiff(path, file, size)
        elif head[:4] == b"OggS":
            _ogg(path, file, size)
        elif not _is_flac_or_mp3(head):
            raise RejectedError(path, "undecodable", "not WAV, AIFF, FLAC, Ogg or MP3")


def _is_flac_or_mp3(head: bytes) -> bool:
    # An MPEG frame starts with 11 set bits; FLAC may follow an ID3 tag too.
    return head[:4] == b"fLaC" or head[:3] == b"ID3" or (head[0] == 0xFF and head[1:2] >= b"\xe0")


def _chunks(file: BinaryIO, size: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, offset of the body, declared bytes) of a RIFF or AIFF file's chunks."""
    offset = 12
    while offset + 8 <= size:
        file.seek(offset)
        header = file.read(8)
        declared = int.from_bytes(header[4:], "little" if order == "<" else "big")
        yield header[:4], offset + 8, declared
        offset += 8 + declared + declared % 2


def _wave(path: Path, file: BinaryIO, size: int) -> None:
    for name, body, declared in _chunks(file, size, "<"):
        if name == b"fmt ":
            file.seek(body)
            _require_wave_codec(path, file.read(40))
        elif name == b"data":
            _require_bytes(path, declared, size - body)
            return
    raise RejectedError(path, "truncated", "a WAV header without a data chunk")


def _require_wave_codec(path: Path, fmt: bytes) -> None:
    tag = int.from_bytes(fmt[:2], "little")
    if tag == _EXTENSIBLE:
        tag = int.from_bytes(fmt[24:26], "little")
    if tag not in _WAVE_TAGS:
        raise RejectedError(path, "unsupported", f"WAVE format 0x{tag:04x}, convert it to PCM")


def _aiff(path: Path, file: BinaryIO, size: int) -> None:
    for name, body, declared in _chunks(file, size, ">"):
        if name == b"COMM" and declared >= 22:
            file.seek(body + 18)
            codec = file.read(4)
            if codec not in _AIFC_CODECS:
                raise RejectedError(path, "unsupported", f"AIFC codec {codec!r}, convert it to PCM")
        elif name == b"SSND":
            _require_bytes(path, declared, size - body)
            return
    raise RejectedError(path, "truncated", "an AIFF header without a sound chunk")


def _require_bytes(path: Path, declared: int, held: int) -> None:
    if held == 0 or declared == 0:
        raise RejectedError(path, "empty", "a header without samples")
    if declared != _STREAMED and declared > held:
        raise RejectedError(path, "truncated", f"{held} bytes of audio, the header says {declared}")


def _ogg(path: Path, file: BinaryIO, size: int) -> None:
    """The last page must be whole and carry the end-of-stream flag."""
    file.seek(max(0, size - _OGG_PAGE_MAX_BYTES))
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
    whole = len(page) > 26 and len(page) >= 27 + page[26] + sum(segments)
    if not (whole and page[5] & 0x04):
        raise RejectedError(path, "truncated", "the Ogg stream has no end")
