"""Ogg: pages with a checksum each (RFC 3533), of which libsndfile leaves out the damaged ones.

Called by `pipeline.audio.containers`.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.audio.chunks import MORE_BYTES
from pipeline.audio.recording import Recording, RejectedError

NO_END = "no end flag in the Ogg stream, read to its last page"

_FIRST, _LAST = 0x02, 0x04  # flags of a page
_FLAGS, _CHECKSUM, _HEAD_BYTES, _MOST_SEGMENTS = 5, 22, 27, 255
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class Page:
    """A page: where it lies, and of its header the flags, the time at its end, and its number."""

    offset: int
    content: bytes
    flags: int
    granule: int
    number: int

    @property
    def end(self) -> int:
        """Where the next page begins."""
        return self.offset + len(self.content)


def inspect(recording: Recording) -> str:
    """Check every page of the one stream in a file; returns the note.

    A stream without its end flag, as phones write it, gets one in memory: libsndfile asks for it.

    Raises:
        RejectedError: ``truncated`` (a page is cut, or what follows is none), ``damaged`` (a
            checksum fails, a page is missing, time runs back) or ``unsupported`` (more streams).
    """
    pages = _pages(recording)
    last = next(pages)
    latest = last.granule
    for page in pages:
        _require_next(recording, last, page, latest)
        last, latest = page, max(page.granule, latest)
    more = recording.read(last.end, recording.size - last.end).strip(b"\0")
    if last.flags & _LAST:
        return MORE_BYTES if more else ""
    if more:
        raise RejectedError(recording.path, "truncated", f"no whole Ogg page at byte {last.end}")
    flagged = bytearray(last.content)
    flagged[_FLAGS] |= _LAST
    flagged[_CHECKSUM : _CHECKSUM + 4] = checksum(flagged)
    recording.mend(last.offset, bytes(flagged))
    return NO_END


def checksum(page: bytes | bytearray) -> bytes:
    """The four bytes of a page's CRC-32, which is zlib's with the bits of each byte reversed."""
    zeroed = page[:_CHECKSUM] + bytes(4) + page[_CHECKSUM + 4 :]
    crc = zlib.crc32(zeroed.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return crc.to_bytes(4, "big").translate(_REVERSED)


def _pages(recording: Recording) -> Iterator[Page]:
    """The pages one after another, up to the first bytes that are none."""
    offset = 0
    while (head := recording.read(offset, _HEAD_BYTES + _MOST_SEGMENTS))[:4] == b"OggS":
        segments = head[_HEAD_BYTES : _HEAD_BYTES + head[26]] if len(head) >= _HEAD_BYTES else b""
        content = recording.read(offset, _HEAD_BYTES + len(segments) + sum(segments))
        if not segments or len(content) < _HEAD_BYTES + head[26] + sum(segments):
            detail = f"the Ogg page at byte {offset} is cut"
            raise RejectedError(recording.path, "truncated", detail)
        if content[_CHECKSUM : _CHECKSUM + 4] != checksum(content):
            detail = f"the Ogg page at byte {offset} fails its checksum"
            raise RejectedError(recording.path, "damaged", detail)
        flags, granule, number = struct.unpack_from("<Bq4xI", content, _FLAGS)
        yield Page(offset, content, flags, granule, number)
        offset += len(content)


def _require_next(recording: Recording, last: Page, page: Page, latest: int) -> None:
    if page.flags & _FIRST:
        detail = "several streams in one Ogg file, of which one would be read, convert it"
        raise RejectedError(recording.path, "unsupported", detail)
    if page.number != last.number + 1:
        detail = f"Ogg page {page.number} follows page {last.number}"
        raise RejectedError(recording.path, "damaged", detail)
    # -1: no packet ends on the page.
    if page.granule != -1 and page.granule < latest:
        detail = f"the Ogg page at byte {page.offset} ends at sample {page.granule}, one before it "
        raise RejectedError(recording.path, "damaged", f"{detail}at {latest}")
