"""Clips as FLAC files: `preprocess` writes them, extraction and training read them back."""

import hashlib
import io
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples
from pipeline.ground import files
from pipeline.ground.errors import PipelineError

# Where the first metadata block, STREAMINFO, has the checksum of the samples (RFC 9639, 8.2).
_FLAC_MD5 = slice(26, 42)


def encode_flac(samples: Samples) -> tuple[bytes, str]:
    """16 kHz samples as a 16-bit FLAC file, and the SHA-256 of the 16-bit samples.

    The same samples give the same bytes, and 16-bit sources pass through without loss.
    """
    pcm = _pcm(samples)
    encoded = io.BytesIO()
    soundfile.write(encoded, pcm, SAMPLE_RATE_HZ, subtype="PCM_16", format="FLAC")
    return encoded.getvalue(), _sha256(pcm)


def as_stored(samples: Samples) -> Samples:
    """The samples as a clip's file gives them back: of 16 bits."""
    stored: Samples = _pcm(samples) * np.float32(1 / 32768)
    return stored


def write_flac(path: Path, samples: Samples) -> str:
    """Write a clip; the SHA-256 of its 16-bit samples is returned."""
    encoded, sha256 = encode_flac(samples)
    path.write_bytes(encoded)
    return sha256


def read_clip(path: Path, sha256: str = "") -> Samples:
    """Read one of our clips: float32 samples of shape (samples,) at 16 kHz.

    Args:
        path: What `write_flac` wrote.
        sha256: What it returned, as the manifest has it: of other audio nothing is read.

    Raises:
        PipelineError: The file is missing, damaged (FLAC checksums its frames), not a clip, or
            other audio.
    """
    files.require_file(path)
    with path.open("rb") as file:
        return clip_of(path, file, sha256)


def clip_of(path: Path, file: BinaryIO, sha256: str = "") -> Samples:
    """As `read_clip`, of what lies at ``path`` and is open, or in memory."""
    try:
        samples, rate = soundfile.read(file, dtype="int16")
    except (soundfile.LibsndfileError, MemoryError) as error:
        reason = getattr(error, "error_string", "a length beyond memory").rstrip(".")
        raise PipelineError(f"{path}: {reason}, run `dvc repro preprocess`") from None
    if rate != SAMPLE_RATE_HZ or samples.ndim != 1:
        raise PipelineError(f"{path}: expected mono at 16 kHz, run `dvc repro preprocess`")
    # A length that was cut in the header is in no frame's checksum.
    file.seek(0)
    told = file.read(_FLAC_MD5.stop)[_FLAC_MD5]
    if hashlib.md5(samples.astype("<i2", copy=False), usedforsecurity=False).digest() != told:
        raise PipelineError(f"{path}: damaged (MD5), delete it and run `dvc repro preprocess`")
    if sha256 and _sha256(samples) != sha256:
        raise PipelineError(f"{path}: not the audio of the manifest, run `dvc repro`")
    clip: Samples = samples * np.float32(1 / 32768)
    return clip


def _sha256(pcm: npt.NDArray[np.int16]) -> str:
    return hashlib.sha256(pcm.astype("<i2", copy=False).tobytes()).hexdigest()


def _pcm(samples: Samples) -> npt.NDArray[np.int16]:
    pcm: npt.NDArray[np.int16]
    pcm = np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype("<i2")
    return pcm
