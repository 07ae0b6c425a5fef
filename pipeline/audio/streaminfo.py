"""FLAC: what its first block says of the whole, against its frames (RFC 9639, 8.2 and 9.1).

Called by `pipeline.audio.containers` and `decoding`. Each frame has checksums, which libsndfile
compares; it reads no further than STREAMINFO says, and does not look at the MD5 of the samples.
"""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.audio.chunks import UNKNOWN_LENGTH
from pipeline.audio.recording import Recording, RejectedError

_BODY_BYTES = 34
_TOTAL = 13  # the byte whose lower half begins the number of samples
_MD5 = slice(18, 34)
_LAST_BLOCK = 0x80
_LONGEST_HEADER_BYTES = 16
_WINDOW_BYTES = 2**20
# How many beginnings of a frame are looked at from the end on: in one file of some thousands other
# bytes look like one.
_TRIED = 4
_BLOCKS = {1: 192} | {n: 144 << n for n in range(2, 6)} | {n: 1 << n for n in range(8, 16)}


def _table(polynomial: int, bits: int) -> list[int]:
    table = []
    for value in range(256):
        crc = value << bits - 8
        for _ in range(8):
            crc = crc << 1 ^ (polynomial if crc >> bits - 1 else 0)
        table.append(crc)
    return table


_CRC8, _CRC16 = _table(0x107, 8), _table(0x18005, 16)


def inspect(recording: Recording, start: int) -> str:
    """Compare the stated number of samples with what the last frame says; returns the note.

    A stream that was written into a pipe states none: the number is mended in memory.

    Raises:
        RejectedError: ``truncated`` (frames are missing at the end) or ``damaged`` (there are more
            samples than the header declares).
    """
    body = start + 8
    info = recording.read(body, _BODY_BYTES)
    if (
        recording.read(start + 4, 4)[1:] != _BODY_BYTES.to_bytes(3, "big")
        or len(info) < _BODY_BYTES
    ):
        return ""  # no STREAMINFO: not for libsndfile either
    recording.md5 = info[_MD5]
    stated = int.from_bytes(info[_TOTAL : _TOTAL + 5], "big") & (1 << 36) - 1
    held = _samples(recording, _first_frame(recording, start), info, stated)
    if held == stated or (stated and held is None):
        return ""
    path = recording.path
    if held is None:
        detail = "no whole frame at the end of a FLAC file without a length"
        raise RejectedError(path, "truncated", detail)
    if stated:
        detail = f"FLAC frames of {held} samples, the header declares {stated}"
        raise RejectedError(path, "truncated" if held < stated else "damaged", detail)
    kept = (info[_TOTAL] >> 4 << 36) + held
    recording.mend(body + _TOTAL, kept.to_bytes(5, "big"))
    return UNKNOWN_LENGTH


class Digest:
    """The MD5 of samples of ``bits`` each, at the top of their integers, as FLAC's header has it.

    They come block by block.
    """

    def __init__(self, bits: int) -> None:
        self._bits, self._md5 = bits, hashlib.md5(usedforsecurity=False)

    def add(self, samples: npt.NDArray[Any]) -> None:
        """The next of them."""
        width = samples.dtype.itemsize
        little = samples.astype(samples.dtype.newbyteorder("<"), copy=False)
        octets = little.view(np.uint8).reshape(-1, width)[:, width - self._bits // 8 :]
        self._md5.update(octets.tobytes())

    def require(self, recording: Recording) -> None:
        """Compare it with the file's, if that has one.

        Raises:
            RejectedError: ``damaged``.
        """
        if recording.md5.strip(b"\0") and self._md5.digest() != recording.md5:
            detail = "the samples do not fit the MD5 in the FLAC header"
            raise RejectedError(recording.path, "damaged", detail)


def _first_frame(recording: Recording, start: int) -> int:
    """Where the metadata ends."""
    offset, head = start + 4, b"\0"
    while head and not head[0] & _LAST_BLOCK:
        head = recording.read(offset, 4)
        offset += 4 + int.from_bytes(head[1:], "big")
    return offset


def _samples(recording: Recording, first: int, info: bytes, stated: int) -> int | None:
    """Where the last frame ends, in samples, None where none is whole.

    One that ends where it should is taken by its header; others must fit their checksum.
    """
    begin = max(first, recording.size - _WINDOW_BYTES)
    window, sync = recording.read(begin, _WINDOW_BYTES), recording.read(first, 2)
    at, tried = len(window), 0
    while tried < _TRIED and sync and (at := window.rfind(sync, 0, at)) >= 0:
        end = _frame_end(window[at : at + _LONGEST_HEADER_BYTES], int.from_bytes(info[2:4], "big"))
        tried += end is not None
        if end is not None and (end == stated or _crc(_CRC16, 16, window[at:]) == 0):
            return end
    return None


def _frame_end(header: bytes, block: int) -> int | None:
    """The number of the sample after a frame, None where ``header`` is none.

    ``block`` is the length of every frame but the last, unless each says where it begins.
    """
    ones = 8 - (header[4] ^ 0xFF).bit_length() if len(header) > 4 else 0
    length = max(1, ones)
    coded, rest = header[4 : 4 + length], header[4 + length :]
    code, rate = (header[2] >> 4, header[2] & 0x0F) if coded else (0, 15)
    wide = {6: 1, 7: 2}.get(code, 0)
    checked = 4 + length + wide + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if code == 0 or rate == 15 or len(rest) <= checked - 4 - length:
        return None
    if _crc(_CRC8, 8, header[: checked + 1]):
        return None
    samples = int.from_bytes(rest[:wide], "big") + 1 if wide else _BLOCKS[code]
    number = coded[0] & 0x7F >> ones
    for byte in coded[1:]:
        number = number << 6 | byte & 0x3F
    return (number if header[1] & 1 else number * block) + samples


def _crc(table: list[int], bits: int, content: bytes) -> int:
    crc, mask = 0, (1 << bits) - 1
    for byte in content:
        crc = (crc << 8 & mask) ^ table[crc >> bits - 8 ^ byte]
    return crc
