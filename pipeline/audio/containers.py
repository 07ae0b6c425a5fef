"""What a file's own structure says, read before any decoder sees it.

`pipeline.audio.decoding` calls `inspect` first: libsndfile shortens a damaged file in silence, and
only the uncompressed and the common lossy codecs are let through to it (ADPCM decoders have a
history of memory errors). It reads no MPEG-4 (mp4, m4a, mov): ffmpeg takes the audio out, which is
no dependency, since whoever has no such file needs none.
"""

import re
import shutil
import subprocess

from pipeline.audio import chunks, mpeg, ogg, streaminfo
from pipeline.audio.recording import Recording, RejectedError
from pipeline.ground.errors import PipelineError

# The format is told and not guessed, and nothing but the file itself is opened.
_INPUT = ("-nostdin", "-v", "error", "-protocol_whitelist", "file", "-f", "mov", "-i")
_OUTPUT = ("-map", "0:a:0", "-c:a", "pcm_f32le", "-bitexact", "-f", "wav", "pipe:1")


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


def needs_its_path(recording: Recording) -> bool:
    """Whether a program of this machine reads it (MPEG-4: ffmpeg), which takes no bytes."""
    return recording.read(4, 4) == b"ftyp"


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
    if needs_its_path(recording):
        _take_out(recording)
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


def _take_out(recording: Recording) -> None:
    """Put a WAV file of the first audio track, as 32-bit floats, in the place of the bytes read.

    Raises:
        RejectedError: ``undecodable``, ffmpeg gave up or found no audio; ``damaged``, it read on
            past an error.
        PipelineError: There is no ffmpeg. What can be read must not follow from the machine.
    """
    path = recording.path
    if not (ffmpeg := shutil.which("ffmpeg")):
        raise PipelineError(
            f"{path}: MPEG-4, which ffmpeg reads, but there is none on the PATH, install it or "
            "convert it to WAV"
        )
    command = [ffmpeg, *_INPUT, f"file:{path}", *_OUTPUT]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    recording.require_same()
    # Without the place in memory of what speaks, another one in each run.
    told = re.sub(r"\[[^]]* @ 0x\w+\] ", "", done.stderr.decode("utf-8", "replace")).strip()
    told = told.partition("\n")[0] or "no reason given"
    if done.returncode or not done.stdout:
        raise RejectedError(path, "undecodable", f"ffmpeg: {told}")
    if done.stderr:
        raise RejectedError(path, "damaged", f"ffmpeg: {told}")
    recording.mend(0, done.stdout, recording.size)
