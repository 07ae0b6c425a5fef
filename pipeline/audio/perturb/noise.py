"""Noise on a clip at a stated signal-to-noise ratio: white, or the babble of other voices."""

from collections.abc import Sequence

import numpy as np

from pipeline.audio.formats import Samples


def mixed(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """Add noise, scaled so that the ratio of the mean powers over the clip is ``snr_db``.

    Both are (samples,). Silence stays silent, and silent noise adds nothing.
    """
    signal, power = (float(np.square(x, dtype=np.float64).sum()) for x in (samples, noise))
    if not power:
        return samples
    return samples + noise * np.float32(np.sqrt(signal / power / 10 ** (snr_db / 10)))


def white(samples: Samples, snr_db: float, random: np.random.Generator) -> Samples:
    """Add white Gaussian noise."""
    return mixed(samples, random.standard_normal(len(samples), dtype=np.float32), snr_db)


def babble(
    samples: Samples, snr_db: float, voices: Sequence[Samples], random: np.random.Generator
) -> Samples:
    """Add other voices, all of the same power, each from a random place on and over again."""
    total = np.zeros(len(samples), np.float32)
    for voice in voices:
        begun = np.roll(voice, -int(random.integers(len(voice))))
        looped = np.resize(begun, len(samples))
        power = float(np.square(looped, dtype=np.float64).mean())
        if power:
            total += looped / np.float32(np.sqrt(power))
    return mixed(samples, total, snr_db)
