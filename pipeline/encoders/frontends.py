"""Encoders without weights: mel filterbank energies, cepstra, openSMILE functionals.

They take the place of an encoder in `extract`: their settings are the ``config.json`` of
``artifacts/encoders/<name>/``, their frames the layer ``last``.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import Field

from pipeline.audio.formats import SAMPLE_RATE_HZ
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import Section

Floats = npt.NDArray[np.float32]

# Below 16-bit quantisation noise; keeps the logarithm finite in digital silence.
MIN_ENERGY = 1e-10

# Slaney's mel scale (Auditory Toolbox, 1998): linear up to 1 kHz, logarithmic above.
_MEL_HZ = 200 / 3
_KNEE_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27


class Bands(Section):
    """What front ends made of mel bands share."""

    bands: Annotated[int, Field(ge=1, le=4096)]
    window_ms: Annotated[float, Field(ge=1000 / SAMPLE_RATE_HZ, le=10_000)]
    hop_ms: Annotated[float, Field(ge=1000 / SAMPLE_RATE_HZ, le=10_000)]
    high_hz: Annotated[float, Field(gt=0, le=SAMPLE_RATE_HZ / 2)]

    @property
    def hop_samples(self) -> int:
        """Samples between the starts of two frames."""
        return _samples(self.hop_ms)

    def energies(self, samples: Floats) -> Floats:
        """Log mel energies (frames, bands) of a clip (samples,); whole windows alone make a frame.

        Natural logarithm of the power under a periodic Hann window, in Slaney's filters.

        Raises:
            PipelineError: The clip is shorter than one window.
        """
        window = _samples(self.window_ms)
        if len(samples) < window:
            raise PipelineError(
                f"params.yaml: window_ms is {self.window_ms:g}, but a clip lasts "
                f"{len(samples) / SAMPLE_RATE_HZ * 1000:.1f} ms, set a smaller one"
            )
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
        windows = sliding_window_view(samples, window)[:: _samples(self.hop_ms)]
        power = np.abs(np.fft.rfft(windows * hann.astype(np.float32))) ** 2
        energies = power @ mel_filters(self.bands, window, self.high_hz).T
        logarithms: Floats = np.log(np.maximum(energies, np.float32(MIN_ENERGY)))
        return logarithms


class Fbank(Bands):
    """Log mel filterbank energies."""

    kind: Literal["fbank"]

    @property
    def width(self) -> int:
        """Values in a frame."""
        return self.bands

    def frames(self, samples: Floats) -> Floats:
        """Map a clip (samples,) to (frames, width); raises as `energies`."""
        return self.energies(samples)


class Mfcc(Bands):
    """Mel-frequency cepstra: the first terms of the orthonormal DCT of the log mel energies.

    Beside them their ``deltas``: 1 is how they change, 2 also how that changes. HuBERT's first
    units are of 13 cepstra with both, every 10 ms, of which it keeps every second.
    """

    kind: Literal["mfcc"]
    coefficients: Annotated[int, Field(ge=1, le=4096)]
    deltas: Annotated[int, Field(ge=0, le=2)]
    every: Annotated[int, Field(ge=1, le=1000)]

    @property
    def hop_samples(self) -> int:
        """Samples between the starts of two frames that are kept."""
        return super().hop_samples * self.every

    @property
    def width(self) -> int:
        """Values in a frame."""
        return min(self.coefficients, self.bands) * (1 + self.deltas)

    def frames(self, samples: Floats) -> Floats:
        """Map a clip (samples,) to (frames, width); raises as `energies`."""
        from scipy.fft import dct

        parts: list[Floats] = [dct(self.energies(samples), norm="ortho")[:, : self.coefficients]]
        for _ in range(self.deltas):
            parts.append(slopes(parts[-1]))
        found: Floats = np.concatenate(parts, axis=1)[:: self.every]
        return found


class Opensmile(Section):
    """openSMILE functionals (Eyben et al., 2010): one frame for the whole clip."""

    WIDTHS: ClassVar = {"eGeMAPSv02": 88, "ComParE_2016": 6373}

    kind: Literal["opensmile"]
    feature_set: Literal["eGeMAPSv02", "ComParE_2016"]

    @property
    def hop_samples(self) -> int:
        """0: there is no second frame."""
        return 0

    @property
    def width(self) -> int:
        """Values in a frame."""
        return self.WIDTHS[self.feature_set]

    def frames(self, samples: Floats) -> Floats:
        """Map a clip (samples,) to (1, width).

        Raises:
            PipelineError: The extra ``opensmile`` is not installed, or the clip is too short.
        """
        table = _smile(self.feature_set).process_signal(samples, SAMPLE_RATE_HZ)
        functionals: Floats = table.to_numpy(np.float32)
        if np.isnan(functionals).any():
            raise PipelineError(
                f"opensmile: a clip lasts {len(samples) / SAMPLE_RATE_HZ * 1000:.0f} ms, too short "
                "for functionals (about 100 ms), take it out of the corpus"
            )
        return functionals


Frontend = Fbank | Mfcc | Opensmile
FRONTENDS: Mapping[str, type[Frontend]] = {"fbank": Fbank, "mfcc": Mfcc, "opensmile": Opensmile}


def mel_filters(bands: int, fft_samples: int, high_hz: float) -> Floats:
    """Triangular filters of equal area from 0 Hz to ``high_hz``: (bands, fft_samples // 2 + 1)."""
    edges_hz = _hz(np.linspace(0.0, _mel(high_hz), bands + 2))
    bins_hz = np.fft.rfftfreq(fft_samples, 1 / SAMPLE_RATE_HZ)
    low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    triangles = np.minimum((bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre))
    filters: Floats = (np.maximum(triangles, 0) * 2 / (high - low)).astype(np.float32)
    return filters


def slopes(frames: Floats) -> Floats:
    """The slope of each value over five frames, by least squares: deltas as in HTK and Kaldi.

    The first and the last frame stand for those beyond them.
    """
    padded = np.pad(frames, ((2, 2), (0, 0)), "edge")
    found: Floats = padded[3:-1] - padded[1:-3] + 2 * (padded[4:] - padded[:-4])
    return found / np.float32(10)


@cache
def _smile(feature_set: str) -> Any:
    """The extractor of a feature set, built once a process."""
    try:
        import opensmile
    except ImportError:
        raise PipelineError(
            "opensmile: not installed, run `pip install -e .[opensmile]` (note its licence)"
        ) from None
    return opensmile.Smile(opensmile.FeatureSet[feature_set])


def _samples(length_ms: float) -> int:
    return round(length_ms * SAMPLE_RATE_HZ / 1000)


def _mel(hz: float) -> float:
    above = _KNEE_HZ / _MEL_HZ + np.log(max(hz, _KNEE_HZ) / _KNEE_HZ) / _LOG_STEP
    return hz / _MEL_HZ if hz < _KNEE_HZ else float(above)


def _hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    knee = _KNEE_HZ / _MEL_HZ
    return np.where(mel < knee, mel * _MEL_HZ, _KNEE_HZ * np.exp(_LOG_STEP * (mel - knee)))


def parse(settings: Mapping[str, Any]) -> Frontend | None:
    """The front end of a ``config.json``, or None where it is an encoder with weights."""
    kind = FRONTENDS.get(settings.get("kind", ""))
    return kind(**settings) if kind else None
