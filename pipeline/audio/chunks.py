"""WAV, RF64 and AIFF: files made of chunks, each a name, a length and a body.

Called by `pipeline.audio.containers`. A writer into a pipe cannot know the length of the audio and
leaves a mark in its place; a recorder that was killed leaves 0. Any other length is a promise.
"""

from collections.abc import Iterator
from typing import Literal

from pipeline.audio.recording import Recording, RejectedError

UNKNOWN_LENGTH = "no length in the header, read to the end of the file"
MORE_BYTES = "bytes after the audio that the header does not cover, not read"

# WAVE format tags: PCM, IEEE float, A-law, mu-law; 0xFFFE defers to its sub-format.
_WAVE_TAGS = {0x0001, 0x0003, 0x0006, 0x0007}
_EXTENSIBLE = 0xFFFE
_AIFC_CODECS = {b"NONE", b"sowt", b"twos", b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64"}
_LAW_CODECS = {b"ulaw", b"ULAW", b"alaw", b"ALAW"}
# What ffmpeg, SoX, arecord and their like write for "as long as it lasts": the largest number of
# a type, with or without its sign, less what they count as header.
_MARKS = [(2**bits - 2**12, 2**bits) for bits in (31, 32, 63, 64)] + [(0x7F000000, 0x7F001000)]
_SSND_HEAD_BYTES = 8

Order = Literal["little", "big"]


def inspect_wave(recording: Recording) -> str:
    """Check a WAV or RF64 file; returns the note.

    Raises:
        RejectedError: ``undecodable``, ``unsupported``, ``truncated`` or ``empty``.
    """
    length_at, wide = 0, b""
    for name, body, declared in _chunks(recording, "little"):
        if name == b"ds64":
            length_at, wide = body + 8, recording.read(body + 8, 8)
        elif name == b"fmt ":
            _require_wave_codec(recording, recording.read(body, 40))
        elif name == b"data" and wide and declared == 0xFFFFFFFF:
            told = int.from_bytes(wide, "little")
            return _inspect_audio(recording, body, told, length_at, 8, "little")
        elif name == b"data":
            return _inspect_audio(recording, body, declared, body - 4, 4, "little")
    raise RejectedError(recording.path, "truncated", "a WAV header without a data chunk")


def inspect_aiff(recording: Recording) -> str:
    """Check an AIFF or AIFC file; returns the note.

    Raises:
        RejectedError: ``undecodable``, ``unsupported``, ``truncated`` or ``empty``.
    """
    promised = 0
    for name, body, declared in _chunks(recording, "big"):
        if name == b"COMM":
            promised = _aiff_bytes(recording, recording.read(body, declared)[:22])
        elif name == b"SSND":
            known = not _is_mark(declared) and declared > _SSND_HEAD_BYTES
            if known and promised > declared - _SSND_HEAD_BYTES:
                _refuse_length(recording, declared - _SSND_HEAD_BYTES, promised)
            told = declared if known else 0
            return _inspect_audio(recording, body, told, body - 4, 4, "big")
    raise RejectedError(recording.path, "truncated", "an AIFF header without a sound chunk")


def _chunks(recording: Recording, order: Order) -> Iterator[tuple[bytes, int, int]]:
    """Yield (name, offset of the body, declared bytes) of a file's chunks."""
    offset = 12
    while offset + 8 <= recording.size:
        name, declared = _chunk(recording, offset, order)
        yield name, offset + 8, declared
        offset += 8 + declared
        if declared % 2:
            if recording.read(offset, 4) in (b"data", b"SSND", b"fmt ", b"COMM"):
                told = name.decode("ascii", "replace")
                raise RejectedError(
                    recording.path,
                    "undecodable",
                    f"chunk {told!r} has {declared} bytes and no pad byte, write the file again",
                )
            offset += 1


def _chunk(recording: Recording, offset: int, order: Order) -> tuple[bytes, int]:
    header = recording.read(offset, 8)
    return header[:4], int.from_bytes(header[4:], order)


def _inspect_audio(
    recording: Recording, body: int, declared: int, length_at: int, width: int, order: Order
) -> str:
    """Compare the audio's length, stated in ``width`` bytes at ``length_at``, with the file's."""
    held = recording.size - body
    if held <= 0 or (declared == 0 and _covered(recording, body, order) > body):
        raise RejectedError(recording.path, "empty", "a header without samples")
    if declared == 0 or (_is_mark(declared) and declared > held):
        if declared == 0 or width == 8:
            told = min(held, 2 ** (8 * width) - 1)
            recording.mend(length_at, told.to_bytes(width, order))
        return UNKNOWN_LENGTH
    if declared > held:
        _refuse_length(recording, held, declared)
    covered = _covered(recording, body + declared + declared % 2, order)
    rest = recording.read(covered, recording.size - covered) if covered < recording.size else b""
    return MORE_BYTES if rest.strip(b"\0") else ""


def _covered(recording: Recording, offset: int, order: Order) -> int:
    """Where the chunks end that begin at ``offset``; what is none ends there."""
    while offset + 8 <= recording.size:
        name, declared = _chunk(recording, offset, order)
        if not (name.isascii() and name.decode().isprintable()):
            break
        if offset + 8 + declared > recording.size:
            break
        offset += 8 + declared + declared % 2
    return offset


def _is_mark(declared: int) -> bool:
    return any(low <= declared <= high for low, high in _MARKS)


def _refuse_length(recording: Recording, held: int, declared: int) -> None:
    detail = f"{held} bytes of audio, the header says {declared}"
    raise RejectedError(recording.path, "truncated", detail)


def _require_wave_codec(recording: Recording, fmt: bytes) -> None:
    tag = int.from_bytes(fmt[:2], "little")
    if tag == _EXTENSIBLE:
        tag = int.from_bytes(fmt[24:26], "little")
    if tag not in _WAVE_TAGS:
        detail = f"WAVE format 0x{tag:04x}, convert it to PCM"
        raise RejectedError(recording.path, "unsupported", detail)


def _aiff_bytes(recording: Recording, comm: bytes) -> int:
    """The bytes of audio that a COMM chunk promises: frames by channels by bytes of a sample."""
    codec = comm[18:22] or b"NONE"
    if codec not in _AIFC_CODECS | _LAW_CODECS:
        detail = f"AIFC codec {codec!r}, convert it to PCM"
        raise RejectedError(recording.path, "unsupported", detail)
    channels, frames, bits = (int.from_bytes(comm[a:b], "big") for a, b in ((0, 2), (2, 6), (6, 8)))
    return channels * frames * (1 if codec in _LAW_CODECS else (bits + 7) // 8)
