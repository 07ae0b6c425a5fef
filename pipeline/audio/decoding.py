"""Decoding and encoding: from any source file to mono 16 kHz samples, and clips as FLAC.

`preprocess` decodes corpora with `decode` and writes clips with `write_flac`; extraction and
training read them back with `read_clip`. Samples are float32 in [-1, 1] throughout.
"""

import hashlib
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from pipeline.audio.containers import RejectedError, inspect
from pipeline.corpora.manifest import SAMPLE_RATE_HZ
from pipeline.ground.errors import PipelineError

Samples = npt.NDArray[np.float32]

# The encoders' receptive field: a shorter clip has no frame.
MIN_SAMPLES = 400
# The quietest real speech met is at -55 dBFS (RAVDESS, loudest 25 ms); one 16-bit step at -90.
SILENCE_DBFS = -70.0
# A GiB as float32, 50 minutes of 44.1 kHz stereo: a few kB of FLAC can hold hours of silence in
# eight channels at 655 kHz.
MAX_SAMPLES = 2**28
FULL_SCALE = 32767 / 32768
# Where the first metadata block, STREAMINFO, has the checksum of the samples (RFC 9639, 8.2).
_FLAC_MD5 = slice(26, 42)


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


def resample(samples: Samples, from_hz: float, to_hz: float) -> Samples:
    """Band-limited resampling of a mono signal (soxr, HQ)."""
    resampled: Samples = soxr.resample(samples, from_hz, to_hz, quality="HQ")
    return resampled


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


def encode_flac(samples: Samples) -> tuple[bytes, str]:
    """16 kHz samples as a 16-bit FLAC file, and the SHA-256 of the 16-bit samples.

    The same samples give the same bytes, and 16-bit sources pass through without loss.
    """
    pcm = _pcm(samples)
    encoded = io.BytesIO()
    soundfile.write(encoded, pcm, SAMPLE_RATE_HZ, subtype="PCM_16", format="FLAC")
    return encoded.getvalue(), hashlib.sha256(pcm.tobytes()).hexdigest()


def as_stored(samples: Samples) -> Samples:
    """The samples as a clip's file gives them back: of 16 bits."""
    stored: Samples = _pcm(samples) * np.float32(1 / 32768)
    return stored


def write_flac(path: Path, samples: Samples) -> str:
    """Write a clip; the SHA-256 of its 16-bit samples is returned."""
    encoded, sha256 = encode_flac(samples)
    path.write_bytes(encoded)
    return sha256


def read_clip(path: Path) -> Samples:
    """Read one of our clips: float32 samples of shape (samples,) at 16 kHz.

    Raises:
        PipelineError: The file is missing, damaged (FLAC checksums its frames) or not a clip.
    """
    try:
        samples, rate = soundfile.read(path, dtype="int16")
    except (soundfile.LibsndfileError, MemoryError) as error:
        reason = getattr(error, "error_string", "a length beyond memory").rstrip(".")
        raise PipelineError(f"{path}: {reason}, run `dvc repro preprocess`") from None
    if rate != SAMPLE_RATE_HZ or samples.ndim != 1:
        raise PipelineError(f"{path}: expected mono at 16 kHz, run `dvc repro preprocess`")
    # A length that was cut in the header is in no frame's checksum.
    with path.open("rb") as file:
        told = file.read(_FLAC_MD5.stop)[_FLAC_MD5]
    if hashlib.md5(samples.astype("<i2", copy=False), usedforsecurity=False).digest() != told:
        raise PipelineError(f"{path}: damaged (MD5), delete it and run `dvc repro preprocess`")
    clip: Samples = samples * np.float32(1 / 32768)
    return clip


def _pcm(samples: Samples) -> npt.NDArray[np.int16]:
    pcm: npt.NDArray[np.int16]
    pcm = np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype("<i2")
    return pcm


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
