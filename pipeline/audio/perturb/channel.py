"""What lies between a voice and a recording: a telephone, another level, an MP3, another speed."""

import io

import numpy as np
import soundfile
from scipy.signal import butter, sosfilt

from pipeline.audio.formats import MIN_SAMPLES, SAMPLE_RATE_HZ, Samples
from pipeline.audio.resampling import resample

TELEPHONE_RATE_HZ = 8_000
TELEPHONE_BAND_HZ = (300.0, 3400.0)  # ITU-T G.712
_ORDER = 8  # of each flank: 48 dB an octave
# What LAME's encoder and a decoder put in front; frames of less than 40 kbit/s have no room for the
# header that says so.
_MP3_DELAY_SAMPLES = 576 + 529
_KBPS_LOUDEST, _KBPS_SPAN = 160, 152  # of MPEG 2, whose rates 16 kHz is one of: 160 to 8


def telephone(samples: Samples) -> Samples:
    """Through 8 kHz, with a band of 300 to 3400 Hz (Butterworth, 3 dB down at both ends)."""
    narrow = resample(samples, SAMPLE_RATE_HZ, TELEPHONE_RATE_HZ)
    filters = butter(_ORDER, TELEPHONE_BAND_HZ, "bandpass", fs=TELEPHONE_RATE_HZ, output="sos")
    passed = sosfilt(filters, narrow).astype(np.float32)
    return _as_long(resample(passed, TELEPHONE_RATE_HZ, SAMPLE_RATE_HZ), len(samples))


def gain(samples: Samples, db: float) -> Samples:
    """Louder, or quieter; what passes full scale is cut off where the clip is stored."""
    return samples * np.float32(10 ** (db / 20))


def mp3(samples: Samples, kbps: int) -> Samples:
    """Encoded as MP3 of a constant bit rate and decoded again; time and length stay."""
    encoded = io.BytesIO(mp3_bytes(samples, kbps))
    decoded, _ = soundfile.read(encoded, dtype="float32")
    late = _MP3_DELAY_SAMPLES if len(decoded) > len(samples) else 0
    return _as_long(decoded[late:], len(samples))


def mp3_bytes(samples: Samples, kbps: int) -> bytes:
    """The MP3 file."""
    encoded = io.BytesIO()
    soundfile.write(
        encoded,
        samples,
        SAMPLE_RATE_HZ,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=(_KBPS_LOUDEST - kbps) / _KBPS_SPAN,  # libsndfile's scale
    )
    return encoded.getvalue()


def speed(samples: Samples, factor: float) -> Samples:
    """Played ``factor`` times as fast: shorter, and higher in pitch; no shorter than a frame."""
    played = resample(samples, SAMPLE_RATE_HZ * factor, SAMPLE_RATE_HZ)
    return _as_long(played, max(MIN_SAMPLES, round(len(samples) / factor)))


def _as_long(samples: Samples, length: int) -> Samples:
    return np.pad(samples, (0, max(0, length - len(samples))))[:length]
