"""Augmentation of training clips: pitch shift, time stretch, additive noise.

`pipeline.corpora.prepare` calls `augmented` for every clip; each draws from its own generator,
seeded by its id, so that results depend neither on order nor on workers. Strengths are drawn
uniformly from the range that ``params.yaml`` gives.
"""

from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Field

from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples
from pipeline.audio.resampling import resample
from pipeline.ground.params import Section
from pipeline.work.seeds import derive

WINDOW_SAMPLES = 2048
HOP_SAMPLES = WINDOW_SAMPLES // 4

Spectrum = npt.NDArray[np.complex64]
Name = Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]


class Pitch(Section):
    """Shift the pitch by ``low`` to ``high`` semitones; the duration stays."""

    kind: Literal["pitch"]
    name: Name
    low: Annotated[float, Field(ge=-24, le=24)]
    high: Annotated[float, Field(ge=-24, le=24)]


class Stretch(Section):
    """Play at ``low`` to ``high`` times the speed; the pitch stays."""

    kind: Literal["stretch"]
    name: Name
    low: Annotated[float, Field(ge=0.25, le=4)]
    high: Annotated[float, Field(ge=0.25, le=4)]


class Noise(Section):
    """Add white noise at a signal-to-noise ratio of ``low`` to ``high`` dB."""

    kind: Literal["noise"]
    name: Name
    low: Annotated[float, Field(ge=-20, le=100)]
    high: Annotated[float, Field(ge=-20, le=100)]


_Any = Pitch | Stretch | Noise


def _ascends(augmentation: _Any) -> _Any:
    if augmentation.low > augmentation.high:
        raise ValueError("of a range with low <= high")
    return augmentation


Augmentation = Annotated[_Any, Field(discriminator="kind"), AfterValidator(_ascends)]


def augmented(augmentation: Augmentation, samples: Samples, seed: int, clip: str) -> Samples:
    """The augmented copy of a clip: 16 kHz samples in, 16 kHz samples out."""
    random = np.random.default_rng(derive(seed, "augment", clip, augmentation.name))
    strength = random.uniform(augmentation.low, augmentation.high)
    if isinstance(augmentation, Pitch):
        return pitch_shift(samples, strength)
    if isinstance(augmentation, Stretch):
        return time_stretch(samples, strength)
    return add_noise(samples, strength, random)


def add_noise(samples: Samples, snr_db: float, random: np.random.Generator) -> Samples:
    """Add white Gaussian noise, scaled so that the ratio of the two powers is ``snr_db``."""
    noise = random.standard_normal(len(samples), dtype=np.float32)
    ratio = float(samples @ samples) / float(noise @ noise) / 10 ** (snr_db / 10)
    return samples + noise * np.float32(np.sqrt(ratio))


def pitch_shift(samples: Samples, semitones: float) -> Samples:
    """Shift the pitch: stretch in time, then resample back to the same number of samples."""
    rate = 2.0 ** (-semitones / 12)
    shifted = resample(time_stretch(samples, rate), SAMPLE_RATE_HZ / rate, SAMPLE_RATE_HZ)
    return np.pad(shifted, (0, max(0, len(samples) - len(shifted))))[: len(samples)]


def time_stretch(samples: Samples, rate: float) -> Samples:
    """Play ``rate`` times faster by a phase vocoder; ``round(samples / rate)`` samples return.

    Flanagan and Golden's vocoder with a 128 ms Hann window and a quarter of it as hop, as
    ``librosa.effects.time_stretch``. Phases advance by products of unit phasors, which spares the
    angles and exponentials of the textbook form.
    """
    return _istft(_vocoder(_stft(samples), rate), round(len(samples) / rate))


def _vocoder(spectrum: Spectrum, rate: float) -> Spectrum:
    """Resample spectral frames (frames, bins) in time; each bin's phase advances as it did."""
    steps = np.arange(0, len(spectrum), rate)
    index = steps.astype(int)
    weight = (steps - index).astype(np.float32)[:, None]
    padded = np.pad(spectrum, ((0, 2), (0, 0)))
    # Not np.abs, which guards against overflow at four times the cost.
    loudness = np.sqrt(padded.real**2 + padded.imag**2)
    phase = np.divide(padded, loudness, out=np.ones_like(padded), where=loudness > 0)
    advance = phase[index[:-1] + 1] * phase[index[:-1]].conj()
    turned: Spectrum = np.cumprod(np.concatenate([phase[:1], advance]), axis=0)
    turned *= (1 - weight) * loudness[index] + weight * loudness[index + 1]
    return turned


def _stft(samples: Samples) -> Spectrum:
    padded = np.pad(samples, WINDOW_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::HOP_SAMPLES]
    # Of float32, whatever NumPy's stubs say.
    spectrum: Spectrum = np.fft.rfft(frames * _window(), axis=1)  # type: ignore[assignment]
    return spectrum


def _istft(spectrum: Spectrum, length: int) -> Samples:
    """Overlap-add with the squared window's sum divided out."""
    frames = np.fft.irfft(spectrum, WINDOW_SAMPLES, axis=1) * _window()
    total = np.zeros((len(frames) + 3, HOP_SAMPLES), np.float32)
    weight = np.zeros_like(total)
    squared = (_window() ** 2).reshape(4, HOP_SAMPLES)
    for part in range(4):
        total[part : part + len(frames)] += frames.reshape(-1, 4, HOP_SAMPLES)[:, part]
        weight[part : part + len(frames)] += squared[part]
    total /= np.maximum(weight, 1e-8)
    signal = total.ravel()[WINDOW_SAMPLES // 2 :]
    return np.pad(signal, (0, max(0, length - len(signal))))[:length]


def _window() -> Samples:
    angle = 2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES
    window: Samples = (0.5 - 0.5 * np.cos(angle)).astype(np.float32)
    return window
