"""Decoding: from any source file to mono 16 kHz samples.

`preprocess` decodes corpora with `decode`. Samples are float32 in [-1, 1].
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from pipeline.audio.containers import RejectedError, inspect
from pipeline.audio.formats import MIN_SAMPLES, SAMPLE_RATE_HZ, Samples
from pipeline.audio.resampling import resample

# The quietest real speech met is at -55 dBFS (RAVDESS, loudest 25 ms); one 16-bit step at -90.
SILENCE_DBFS = -70.0
# A GiB as float32, 50 minutes of 44.1 kHz stereo: a few kB of FLAC can hold hours of silence in
# eight channels at 655 kHz.
MAX_SAMPLES = 2**28
FULL_SCALE = 32767 / 32768


@dataclass(frozen=True)
class Source:
    """What a source file held: its rate, channels, and the share of samples at full scale."""

    sample_rate_hz: int
    channels: int
    clipped: float


def decode(
    path: Path, start_s: float = 0.0, end_s: float | None = None, max_s: float = math.inf
) -> tuple[Samples, Source]:
    """Decode a file, or the part from ``start_s`` to ``end_s``, to mono 16 kHz float32 samples.

    Channels are averaged; other rates are resampled by soxr at its HQ setting.

    Raises:
        RejectedError: ``empty``, ``lfs_pointer``, ``undecodable``, ``unsupported``, ``truncated``,
            ``nonfinite``, ``too_long`` (more than ``max_s`` or `MAX_SAMPLES`, told from the header)
            or ``outside`` (the part lies beyond the file's end).
    """
    inspect(path)
    try:
        with soundfile.SoundFile(path) as file:
            rate = int(file.samplerate)
            start, stop = _part(path, file.frames / rate, start_s, end_s, max_s)
            _require_memory(path, (stop - start) * rate, file.channels)
            samples = _read(path, file, round(start * rate), round(stop * rate))
    except soundfile.LibsndfileError as error:
        raise RejectedError(path, "undecodable", error.error_string.rstrip(".")) from None
    low, high = float(samples.min()), float(samples.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RejectedError(path, "nonfinite", "a sample is NaN or infinite")
    loud = max(-low, high) >= FULL_SCALE
    clipped = float(np.mean(np.abs(samples) >= FULL_SCALE)) if loud else 0.0
    source = Source(rate, samples.shape[1], clipped)
    mono = samples[:, 0] if source.channels == 1 else samples.mean(axis=1)
    return (mono if rate == SAMPLE_RATE_HZ else resample(mono, rate, SAMPLE_RATE_HZ)), source


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


def _read(path: Path, file: soundfile.SoundFile, start: int, stop: int) -> Samples:
    if start:
        file.seek(start)
    # libsndfile makes floats of 16-bit samples at a third of NumPy's speed, to the same bits.
    whole = file.subtype == "PCM_16"
    read = file.read(stop - start, dtype="int16" if whole else "float32", always_2d=True)
    if len(read) < stop - start:
        held = f"{len(read)} of {stop - start} samples"
        raise RejectedError(path, "truncated", f"{held} that the header declares")
    samples: Samples = read * np.float32(1 / 32768) if whole else read
    return samples
