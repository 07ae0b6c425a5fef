"""What a file's own structure says, read before any decoder sees it.

`pipeline.audio.decoding` calls `inspect` first: libsndfile shortens a damaged file in silence, and
only the uncompressed and the common lossy codecs are let through to it (ADPCM decoders have a
history of memory errors).
"""

from pipeline.audio import chunks, mpeg, mpeg4, ogg, streaminfo
from pipeline.audio.recording import Recording, RejectedError


def inspect(recording: Recording) -> None:
    """Check the container, its codec and that the file holds all that its header declares.

    What was read in spite of its header is said in ``recording.note``, else that is empty. A header
    that its writer could not complete is mended in memory.

    Raises:
        RejectedError: ``empty``, ``lfs_pointer``, ``undecodable``, ``unsupported``, ``truncated``
            or ``damaged``.
        PipelineError: An MPEG-4 file, and no ffmpeg.
    """
    if recording.note is None:
        recording.note = _inspected(recording)


def _inspected(recording: Recording) -> str:
    head = recording.read(0, 12)
    if not head:
        raise RejectedError(recording.path, "empty", "the file has no bytes")
    if head == b"version http":
        detail = "a Git LFS pointer, run `git lfs pull`"
        raise RejectedError(recording.path, "lfs_pointer", detail)
    if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
        return chunks.inspect_wave(recording)
    if head[:4] == b"BW64" and head[8:] == b"WAVE":
        raise RejectedError(recording.path, "unsupported", "BW64, convert it to WAV or RF64")
    if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        return chunks.inspect_aiff(recording)
    if head[:4] == b"OggS":
        return ogg.inspect(recording)
    if mpeg4.is_mpeg4(head):
        mpeg4.take_out(recording)
        chunks.inspect_wave(recording)  # a stream's header, which is no fault of the file's
        return ""
    start = _after_id3(recording)
    if recording.read(start, 4) == b"fLaC":
        return streaminfo.inspect(recording, start)
    if mpeg.frame_bytes(recording.read(start, 4)):
        return mpeg.inspect(recording, start)
    raise RejectedError(recording.path, "undecodable", "not WAV, AIFF, FLAC, Ogg or MP3")


def _after_id3(recording: Recording) -> int:
    """Where the audio begins after tags of ID3v2, with which FLAC and MP3 may begin."""
    start = 0
    while (tag := recording.read(start, 10))[:3] == b"ID3" and len(tag) == 10:
        start += 10 + sum(
            byte << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True)
        )
        start += 10 if tag[5] & 0x10 else 0
    return start
