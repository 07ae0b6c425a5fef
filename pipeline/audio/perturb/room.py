"""Reverberation by a synthetic room: an impulse, and noise that decays exponentially behind it."""

import numpy as np
from scipy.signal import fftconvolve

from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples


def response(rt60_s: float, random: np.random.Generator) -> Samples:
    """An impulse response, (samples,), whose tail falls by 60 dB in ``rt60_s`` seconds.

    White Gaussian noise under an exponential (Polack, 1988), as long as that; the direct sound has
    the same energy as all of the tail, so that the ratio of direct to reverberant sound is 0 dB.
    """
    count = round(rt60_s * SAMPLE_RATE_HZ)
    decay = 10 ** (-3 * np.arange(count) / (rt60_s * SAMPLE_RATE_HZ))
    tail = random.standard_normal(count) * decay
    tail[0] = 0
    tail[0] = np.sqrt(np.square(tail).sum())
    found: Samples = tail.astype(np.float32)
    return found


def reverberant(samples: Samples, rt60_s: float, random: np.random.Generator) -> Samples:
    """The clip in such a room, as long and of the same power; what rings on after it is cut."""
    wet = fftconvolve(samples, response(rt60_s, random))[: len(samples)]
    before, after = (float(np.square(x, dtype=np.float64).sum()) for x in (samples, wet))
    level = np.sqrt(before / after) if after else 0.0
    heard: Samples = (wet * level).astype(np.float32)
    return heard
