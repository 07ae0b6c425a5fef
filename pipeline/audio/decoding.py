"""Decoding: from any source file to mono 16 kHz samples.

`preprocess` decodes corpora with `decode`. Samples are float32 in [-1, 1].
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from pipeline.audio import streaminfo
from pipeline.audio.containers import inspect
from pipeline.audio.formats import MIN_SAMPLES, SAMPLE_RATE_HZ, Samples
from pipeline.audio.recording import Recording, RejectedError
from pipeline.audio.resampling import resample

# The quietest real speech met is at -55 dBFS (RAVDESS, loudest 25 ms); one 16-bit step at -90.
SILENCE_DBFS = -70.0
# A GiB as float32, 50 minutes of 44.1 kHz stereo: a few kB of FLAC can hold hours of silence in
# eight channels at 655 kHz.
MAX_SAMPLES = 2**28
FULL_SCALE = 32767 / 32768
# No recorder needs 18 dB above full scale, and integers of 16 bits up to 8 would be silent.
MAX_PEAK = 8.0
MAX_BEYOND_SHARE = 0.05
# As what integers are read, and the bits of a sample.
_INTEGERS = {"PCM_S8": ("int16", 8), "PCM_16": ("int16", 16), "PCM_24": ("int32", 24)}
_MP3 = "MPEG_LAYER_III"
_PASSED = 2**20  # samples that are decoded at a time on the way to a part


@dataclass(frozen=True)
class Source:
    """What a source file held: its rate, channels, and the share of samples at full scale.

    ``note`` says what was read in spite of its header, if anything.
    """

    sample_rate_hz: int
    channels: int
    clipped: float
    note: str = ""


def decode(
    path: Path, start_s: float = 0.0, end_s: float | None = None, max_s: float = math.inf
) -> tuple[Samples, Source]:
    """Decode a file, or a part of it: `decode_part` of what lies at ``path`` now."""
    return decode_part(Recording(path), start_s, end_s, max_s)


def decode_part(
    recording: Recording, start_s: float, end_s: float | None, max_s: float
) -> tuple[Samples, Source]:
    """Decode what lies between ``start_s`` and ``end_s`` to mono 16 kHz float32 samples.

    Channels are averaged; other rates are resampled by soxr at its HQ setting.

    Raises:
        RejectedError: ``empty``, ``lfs_pointer``, ``undecodable``, ``unsupported``, ``truncated``,
            ``damaged``, ``nonfinite``, ``scale`` (far beyond full scale), ``too_long`` (more than
            ``max_s`` or `MAX_SAMPLES`, told from the header) or ``outside`` (the part lies beyond
            the file's end).
    """
    path = recording.path
    inspect(recording)
    try:
        recording.file.seek(0)
        with soundfile.SoundFile(recording.file) as file:
            rate = int(file.samplerate)
            start, stop = _part(path, file.frames / rate, start_s, end_s, max_s)
            _require_memory(path, (stop - start) * rate, file.channels)
            samples = _read(recording, file, round(start * rate), round(stop * rate))
    except soundfile.LibsndfileError as error:
        raise RejectedError(path, "undecodable", error.error_string.rstrip(".")) from None
    level = Level(path)
    level.add(samples)
    source = Source(rate, samples.shape[1], level.clipped(), recording.note or "")
    mono = samples[:, 0] if source.channels == 1 else samples.mean(axis=1)
    return (mono if rate == SAMPLE_RATE_HZ else resample(mono, rate, SAMPLE_RATE_HZ)), source


class _Unsought(soundfile.SoundFile):
    """Else soundfile seeks after each reading, to where it is already."""

    def seekable(self) -> bool:
        return False


class _Forward:
    """An MP3 decoded from its start on, each sample once, for parts that begin one after another.

    A seek there passes every frame before, for each part anew, and its samples differ in their last
    bits from those of the whole file.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._rewind()

    def _rewind(self) -> None:
        self._file = _Unsought(self._recording.anew())
        self._start = 0
        self._held: Samples = np.empty((0, self._file.channels), np.float32)

    def read(self, start: int, stop: int) -> Samples:
        """The samples ``start`` to ``stop``, (samples, channels); fewer where the file ends."""
        if start < self._start:
            self._rewind()
        at = self._start + len(self._held)
        self._held, self._start = self._held[start - self._start :], start
        while at < start and (passed := len(self._file.read(min(start - at, _PASSED), "float32"))):
            at += passed
        more = self._file.read(max(stop - at, 0), dtype="float32", always_2d=True)
        self._held = np.concatenate([self._held, more])
        return self._held[: stop - start]


def require_speech(path: Path, samples: Samples) -> None:
    """Check that 16 kHz samples are long and loud enough to hold any speech.

    Raises:
        RejectedError: ``too_short`` or ``silent``.
    """
    if len(samples) < MIN_SAMPLES:
        raise RejectedError(
            path, "too_short", f"{len(samples)} samples at 16 kHz, at least {MIN_SAMPLES} needed"
        )
    frames = samples[: len(samples) // MIN_SAMPLES * MIN_SAMPLES].reshape(-1, MIN_SAMPLES)
    # Each without its mean, since a constant offset is no sound.
    centred = frames - frames.mean(axis=1, keepdims=True)
    loudest = float(np.einsum("ij,ij->i", centred, centred).max()) / MIN_SAMPLES
    if loudest <= 10 ** (SILENCE_DBFS / 10):
        raise RejectedError(path, "silent", f"no 25 ms above {SILENCE_DBFS:.0f} dBFS")


def _part(
    path: Path, length_s: float, start_s: float, end_s: float | None, max_s: float
) -> tuple[float, float]:
    stop_s = length_s if end_s is None else end_s
    # Annotations are rounded: a part may end up to 10 ms after the file.
    if not (start_s < stop_s <= length_s + 0.01):
        if length_s == 0:
            raise RejectedError(path, "empty", "a header without samples")
        raise RejectedError(
            path, "outside", f"{start_s:g} to {stop_s:g} s of a file of {length_s:.3f} s"
        )
    if stop_s - start_s > max_s:
        raise RejectedError(path, "too_long", f"{stop_s - start_s:.1f} s, at most {max_s:g} s")
    return start_s, min(stop_s, length_s)


def _require_memory(path: Path, frames: float, channels: int) -> None:
    if frames * channels > MAX_SAMPLES:
        raise RejectedError(
            path, "too_long", f"{frames:.0f} samples in {channels} channels, cut or convert it"
        )


def _read(recording: Recording, file: soundfile.SoundFile, start: int, stop: int) -> Samples:
    if start and file.subtype == _MP3:
        recording.forward = recording.forward or _Forward(recording)
        return _all_of(recording.path, recording.forward.read(start, stop), stop - start)
    if start:
        file.seek(start)
    if stop - start == file.frames:
        return next(blocks(recording, file, file.frames))
    kind, bits = _stored(recording, file)
    read = file.read(stop - start, dtype=kind, always_2d=True)
    return _floats(_all_of(recording.path, read, stop - start), bits)


def blocks(recording: Recording, file: soundfile.SoundFile, frames: int) -> Iterator[Samples]:
    """All of a file that was opened just now, float32 of shape (up to ``frames``, channels).

    Raises:
        RejectedError: ``truncated`` or, by the file's MD5, ``damaged``: once its end is reached.
    """
    kind, bits = _stored(recording, file)
    digest, left = streaminfo.Digest(bits), file.frames
    while left:
        read = file.read(min(left, frames), dtype=kind, always_2d=True)
        left -= len(_all_of(recording.path, read, min(left, frames)))
        if bits and recording.md5:
            digest.add(read)
            if not left:
                digest.require(recording)
        yield _floats(read, bits)


def _stored(recording: Recording, file: soundfile.SoundFile) -> tuple[str, int]:
    """As what samples are read, and of how many bits, 0 for floats.

    libsndfile makes floats of 16-bit samples at a third of NumPy's speed, to the same bits; of
    others it is faster, but their MD5 is that of integers.
    """
    integers = file.subtype == "PCM_16" or recording.md5
    return _INTEGERS.get(file.subtype if integers else "", ("float32", 0))


def _floats(read: npt.NDArray[Any], bits: int) -> Samples:
    samples: Samples = read * np.float32(2.0 ** (1 - 8 * read.itemsize)) if bits else read
    return samples


def _all_of(path: Path, read: Samples, expected: int) -> Samples:
    if len(read) < expected:
        held = f"{len(read)} of {expected} samples"
        raise RejectedError(path, "truncated", f"{held} that the header declares")
    return read


class Level:
    """How loud the samples of a file are, which come block by block."""

    def __init__(self, path: Path) -> None:
        self._path, self._peak = path, 0.0
        self._samples = self._full = self._beyond = 0

    def add(self, samples: Samples) -> None:
        """The next of them.

        Raises:
            RejectedError: ``nonfinite``.
        """
        low, high = float(samples.min()), float(samples.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise RejectedError(self._path, "nonfinite", "a sample is NaN or infinite")
        self._samples += samples.size
        if (peak := max(-low, high)) >= FULL_SCALE:
            self._peak = max(self._peak, peak)
            self._full += int(np.count_nonzero(np.abs(samples) >= FULL_SCALE))
            self._beyond += int(np.count_nonzero(np.abs(samples) > 1.0))

    def clipped(self) -> float:
        """The share of samples at full scale, which all must be within reach of.

        Raises:
            RejectedError: ``scale``.
        """
        if self._peak > MAX_PEAK or self._beyond > MAX_BEYOND_SHARE * self._samples:
            bits = next((bits for bits in (16, 24, 32) if self._peak <= 2 ** (bits - 1)), 0)
            remedy = f"divide them by {2 ** (bits - 1)}" if bits else "scale them to 1"
            peak = f"samples up to {self._peak:.6g} where full scale is 1"
            raise RejectedError(self._path, "scale", f"{peak}, {remedy} (or normalise them)")
        return self._full / max(1, self._samples)
