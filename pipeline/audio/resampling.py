"""Band-limited resampling, of decoded sources and of what augmentation stretches."""

import soxr

from pipeline.audio.formats import Samples


def resample(samples: Samples, from_hz: float, to_hz: float) -> Samples:
    """Band-limited resampling of a mono signal (soxr, HQ)."""
    resampled: Samples = soxr.resample(samples, from_hz, to_hz, quality="HQ")
    return resampled
