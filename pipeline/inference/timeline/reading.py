"""From a file of any container and length to a `Sound`.

What libsndfile reads is checked as a corpus's recordings are (`pipeline.audio.decoding`), block by
block. Of other containers, and of video, ffmpeg takes the audio out where
it is on the PATH: it is told the format, known by the first bytes, and opens nothing else.
"""

import contextlib
import math
import re
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
import soundfile

from pipeline.audio import decoding
from pipeline.audio.containers import inspect
from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples
from pipeline.audio.recording import Recording, RejectedError
from pipeline.ground.errors import PipelineError
from pipeline.inference.timeline.sound import Sound, resampled

# A larger file is read where it lies: memory does not grow with it.
HELD_BYTES = 2**24
# What is decoded at once; of slow rates no more than a minute, which is many samples at 16 kHz.
BLOCK_FRAMES = 2**19
BLOCK_S = 60
# First bytes, where they stand, and the demuxer of ffmpeg that is told. No playlist is among them.
DEMUXERS = (
    (b"ftyp", 4, "mov"),
    (b"moov", 4, "mov"),
    (b"mdat", 4, "mov"),
    (b"\x1aE\xdf\xa3", 0, "matroska"),
    (b"\xff\xf1", 0, "aac"),
    (b"\xff\xf9", 0, "aac"),
    (b"ADIF", 0, "aac"),
    (b"#!AMR", 0, "amr"),
    (b"caff", 0, "caf"),
    (b".snd", 0, "au"),
    (b"\x0bw", 0, "ac3"),
    (b"0&\xb2u\x8ef\xcf\x11", 0, "asf"),
    (b"AVI ", 8, "avi"),
    (b"FLV\x01", 0, "flv"),
    (b"G@", 0, "mpegts"),
    (b"\0\0\x01\xba", 0, "mpeg"),
    (b"MAC ", 0, "ape"),
    (b"wvpk", 0, "wv"),
    (b"riff.\x91\xcf\x11", 0, "w64"),
)
# What speaks in ffmpeg, by its place in memory: another one in each run.
_ADDRESS = re.compile(r"\[[^]]* @ 0x\w+\] ")
_QUIET = ("-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe")
_OUTPUT = ("-map", "0:a:0", "-vn", "-sn", "-dn", "-c:a", "pcm_f32le", "-bitexact", "-f", "wav", "-")


def sound_of(path: Path, most_s: float = math.inf) -> Sound:
    """The recording at ``path``.

    Raises:
        RejectedError: It can't be decoded, is damaged, or ``too_long``: no more of it is decoded
            than shows that.
        PipelineError: ffmpeg would read it, and is not there.
    """
    recording = Recording(path, held_bytes=HELD_BYTES)
    made, name = Sound(), _demuxer(recording)
    found = _by_ffmpeg(path, name, most_s) if name else _blocks(recording, most_s)
    with contextlib.closing(found) as blocks:  # ffmpeg ends with it
        for block in blocks:
            made.append(block)
    return made


def spooled(stream: BinaryIO, place: Path) -> Path:
    """A file in the folder ``place`` of all that ``stream`` gives, for `sound_of` to seek in."""
    with tempfile.NamedTemporaryFile(dir=place, delete=False) as file:
        shutil.copyfileobj(stream, file)
    return Path(file.name)


def _demuxer(recording: Recording) -> str:
    """The demuxer of ffmpeg that knows the file; empty for what is read without it."""
    head = recording.read(0, 16)
    found = (name for magic, at, name in DEMUXERS if head[at : at + len(magic)] == magic)
    return next(found, "")


def _require_length(path: Path, found_s: float, most_s: float) -> None:
    if found_s > most_s:
        raise RejectedError(path, "too_long", f"more than {most_s:g} s of audio, cut it")


def _blocks(recording: Recording, most_s: float) -> Generator[Samples]:
    """As `decoding.decode_part` has it, block by block."""
    inspect(recording)
    try:
        recording.file.seek(0)
        with soundfile.SoundFile(recording.file) as file:
            _require_length(recording.path, file.frames / file.samplerate, most_s)
            found = decoding.blocks(recording, file, _block_frames(file.samplerate))
            yield from resampled(_mono(recording.path, found), file.samplerate)
    except soundfile.LibsndfileError as error:
        raise RejectedError(recording.path, "undecodable", error.error_string.rstrip(".")) from None
    recording.require_unchanged()


def _mono(path: Path, blocks: Iterable[Samples]) -> Iterator[Samples]:
    level = decoding.Level(path)
    for block in filter(len, blocks):
        level.add(block)
        yield block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
    level.clipped()


def _block_frames(rate_hz: int) -> int:
    return min(BLOCK_FRAMES, BLOCK_S * rate_hz)


def _by_ffmpeg(path: Path, demuxer: str, most_s: float) -> Generator[Samples]:
    """What ffmpeg takes out of the first audio track."""
    if not (ffmpeg := shutil.which("ffmpeg")):
        raise PipelineError(
            f"{path}: of a format ({demuxer}) which ffmpeg reads, but there is none on the PATH, "
            "install it or convert the file to WAV"
        )
    command = [ffmpeg, *_QUIET, "-f", demuxer, "-i", f"file:{path}", *_OUTPUT]
    with tempfile.TemporaryFile() as errors:
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
        assert running.stdout  # noqa: S101 - it is piped
        try:
            rate_hz, channels = _header(path, running.stdout)
            blocks, passed = _frames(running.stdout, channels, _block_frames(rate_hz)), 0
            for block in resampled(_mono(path, blocks), rate_hz):
                passed += len(block)
                _require_length(path, passed / SAMPLE_RATE_HZ, most_s)
                yield block
        except RejectedError as error:
            if error.code != "undecodable":
                raise
            # What ffmpeg says is better.
        finally:
            running.stdout.close()
            status = running.wait()
            errors.seek(0)
            said = errors.read(10_000).decode("utf-8", "replace")
            told = _ADDRESS.sub("", said).strip().partition("\n")[0]
        if status or told:
            code = "undecodable" if status else "damaged"
            raise RejectedError(path, code, f"ffmpeg: {told or 'no reason given'}")


def _header(path: Path, wave: IO[bytes]) -> tuple[int, int]:
    """The rate and the channels of a WAV file that comes through a pipe, up to its samples."""
    wave.read(12)
    rate_hz = channels = 0
    while len(head := wave.read(8)) == 8:
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name == b"data":
            if rate_hz and channels:
                return rate_hz, channels
            break
        content = wave.read(size + size % 2)
        if name == b"fmt ":
            channels = int.from_bytes(content[2:4], "little")
            rate_hz = int.from_bytes(content[4:8], "little")
    raise RejectedError(path, "undecodable", "ffmpeg: no audio")


def _frames(wave: IO[bytes], channels: int, frames: int) -> Iterator[Samples]:
    width = 4 * channels
    while held := wave.read(frames * width):
        whole = len(held) // width * width
        yield np.frombuffer(held[:whole], np.float32).reshape(-1, channels)
