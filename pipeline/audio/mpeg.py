"""MP3: frames one after another, which nothing but their number in the first one holds together.

Called by `pipeline.audio.containers`. A frame's header (ISO 11172-3, 2.4.1.3, and 13818-3 for the
low rates) gives its length, and where it ends the next one begins. The number is in the header
that Xing put there, or Fraunhofer's VBRI.
"""

from functools import lru_cache

from pipeline.audio.chunks import MORE_BYTES, UNKNOWN_LENGTH
from pipeline.audio.recording import Recording, RejectedError

# By the number in the header; 0 is "free", 15 not allowed.
_KBPS_OF_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_KBPS_OF_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_RATES_HZ = (44_100, 48_000, 32_000, 0)
# MPEG 1, 2 and 2.5, by what divides the rates.
_DIVISORS = {0b11: 1, 0b10: 2, 0b00: 4}
_TAGS = (b"TAG", b"APETAGEX", b"ID3", b"LYRICSBEGIN", b"3DI")
_HEADER_BYTES = 4
_FRAMES_FLAG = b"\0\0\0\1"
_MOST_SIDE_BYTES = 38  # a checksum, and what a stereo frame says before its samples


def frame_bytes(header: bytes) -> int:
    """The length of the Layer III frame that begins with ``header``, 0 where none does."""
    if len(header) < _HEADER_BYTES or header[0] != 0xFF:
        return 0
    return _frame_bytes(header[1], header[2])


@lru_cache
def _frame_bytes(kind: int, how: int) -> int:
    divisor, rate_hz = _DIVISORS.get(kind >> 3 & 3, 0), _RATES_HZ[how >> 2 & 3]
    kbps = (_KBPS_OF_1 if divisor == 1 else _KBPS_OF_2)[how >> 4]
    if kind < 0xE0 or kind >> 1 & 3 != 1 or not (divisor and rate_hz and kbps):
        return 0
    return (144_000 if divisor == 1 else 72_000) * kbps * divisor // rate_hz + (how >> 1 & 1)


def inspect(recording: Recording, start: int) -> str:
    """Check that frames follow each other to the end, as many as the first one says.

    Where it says nothing, the number is put in front in memory: libsndfile would guess it from the
    first bit rate, and stop there.

    Raises:
        RejectedError: ``truncated`` (fewer, or the last one is cut) or ``damaged`` (more, or a
            frame does not begin where the last one ends).
    """
    path = recording.path
    frames, end = _walk(recording, start)
    if end > recording.size:
        raise RejectedError(path, "truncated", "the last MP3 frame is cut")
    rest = recording.read(end, recording.size - end).strip(b"\0")
    more = bool(rest) and not rest.startswith(_TAGS)
    if more and _goes_on(rest):
        raise RejectedError(path, "damaged", f"no MP3 frame at byte {end}, but after it")
    first = recording.read(start, frame_bytes(recording.read(start, _HEADER_BYTES)))
    stated, is_xing = _stated(first)
    held = frames - (stated is not None)
    # Some writers count the frame that has the number.
    if stated and stated > held + 1:
        detail = f"{held} MP3 frames of {stated} that the header declares"
        raise RejectedError(path, "truncated", detail)
    if stated and stated < held - 1:
        detail = f"{held} MP3 frames, the header declares {stated}"
        raise RejectedError(path, "damaged", detail)
    if not (stated and is_xing):
        recording.mend(0, _numbered(first, held), start + (len(first) if held < frames else 0))
    return MORE_BYTES if more else "" if stated else UNKNOWN_LENGTH


def _walk(recording: Recording, start: int) -> tuple[int, int]:
    """The number of frames from ``start`` on, and where the last one ends (or should)."""
    frames, end = 0, start
    while length := frame_bytes(recording.read(end, _HEADER_BYTES)):
        frames, end = frames + 1, end + length
    return frames, end


def _goes_on(rest: bytes) -> bool:
    """Whether two frames follow each other somewhere in what is no frame."""
    at = rest.find(b"\xff")
    while at >= 0:
        length = frame_bytes(rest[at : at + _HEADER_BYTES])
        if length and frame_bytes(rest[at + length : at + length + _HEADER_BYTES]):
            return True
        at = rest.find(b"\xff", at + 1)
    return False


def _stated(first: bytes) -> tuple[int | None, bool]:
    """The number of frames in the first one, 0 for an unknown one, None where it is audio."""
    if first[36:40] == b"VBRI":
        return int.from_bytes(first[50:54], "big"), False
    for name in (b"Xing", b"Info"):
        at = first.find(name, 0, _HEADER_BYTES + _MOST_SIDE_BYTES)
        if at >= 0:
            known = first[at + 7 : at + 8] >= b"\1" and first[at + 7] & 1
            return int.from_bytes(first[at + 8 : at + 12], "big") if known else 0, True
    return None, False


def _numbered(first: bytes, frames: int) -> bytes:
    """A silent frame with Xing's header, of the kind of ``first``."""
    kind, rate, channels = first[1] | 1, first[2] & 0x0C, first[3]
    length = _frame_bytes(kind, 0x90 | rate)
    mono, first_of_mpeg = channels >> 6 == 3, kind >> 3 & 3 == 3
    side = (17 if mono else 32) if first_of_mpeg else (9 if mono else 17)
    head = bytes([0xFF, kind, 0x90 | rate, channels]) + bytes(side)
    return (head + b"Xing" + _FRAMES_FLAG + frames.to_bytes(4, "big")).ljust(length, b"\0")
