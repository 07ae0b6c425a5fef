"""From one waveform to frames, in operations that ONNX has: encoders, and front ends by products.

Each module maps (1, samples) to the frames (1, frames, width) of each of its layers, as the encoder
in `pipeline.encoders.forward` or the front end in `pipeline.encoders.frontends` does. Transforms of
Fourier are products in double precision: ONNX's own is slow, and less exact than NumPy's.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.fft import dct
from torch import Tensor, nn
from torch.nn import functional
from transformers import WhisperFeatureExtractor

from pipeline.audio.formats import MIN_SAMPLES, SAMPLE_RATE_HZ
from pipeline.encoders import encoder as encoders
from pipeline.encoders import forward, frontends
from pipeline.encoders.frontends import MIN_ENERGY, Fbank, Mfcc
from pipeline.encoders.kinds import whisper
from pipeline.encoders.layers import Layer, depths


class OfWave(nn.Module):
    """What makes frames of a waveform, of between ``least`` and ``most`` samples."""

    least = MIN_SAMPLES
    most: int | None = None

    def forward(self, wave: Tensor) -> list[Tensor]:
        """Map (1, samples) to (1, frames, width) of each layer."""
        raise NotImplementedError


class Encoded(OfWave):
    """HuBERT, wav2vec 2.0, WavLM or data2vec; the normalisation of waveforms is inside."""

    def __init__(self, encoder: Any, layers: Sequence[Layer]) -> None:
        super().__init__()
        encoders.fold(encoder)
        self.encoder, self.layers = encoder, list(layers)
        self.normalize = encoder.do_normalize

    def forward(self, wave: Tensor) -> list[Tensor]:
        """Map (1, samples) to (1, frames, width) of each layer."""
        if self.normalize:
            variance = wave.var(1, correction=0, keepdim=True)
            wave = (wave - wave.mean(1, keepdim=True)) / torch.sqrt(variance + 1e-7)
        features = self.encoder.feature_extractor(wave).transpose(1, 2)
        hidden = forward.hidden_of_one(self.encoder, features, self.layers)
        return [hidden[layer] for layer in self.layers]


class Whispered(OfWave):
    """Whisper's encoder, and the energies that transformers' feature extractor makes for it."""

    most = whisper.MOST_SAMPLES

    def __init__(self, encoder: Any, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.encoder, self.layers = encoder, list(layers)
        own = WhisperFeatureExtractor(feature_size=encoder.config.num_mel_bins)
        self.energies = Energies(Spectrum(own.n_fft, own.hop_length), own.mel_filters)

    def forward(self, wave: Tensor) -> list[Tensor]:
        """Map (1, samples) to (1, frames, width) of each layer."""
        # As `whisper.frame_count`; of what is below 0, ONNX rounds quotients up.
        count = (wave.shape[1] + whisper.HOP_SAMPLES - 1) // whisper.HOP_SAMPLES
        encoder = self.encoder
        states = functional.gelu(encoder.conv2(functional.gelu(encoder.conv1(self._heard(wave)))))
        found = [states.transpose(1, 2) + encoder.embed_positions.weight]
        wanted = depths(self.layers, len(encoder.layers))
        for block in encoder.layers[: max(wanted.values())]:
            found.append(block(found[-1], None))
        made = [found[wanted[layer]][:, :count] for layer in self.layers]
        pairs = zip(self.layers, made, strict=True)
        return [encoder.layer_norm(one) if layer == "last" else one for layer, one in pairs]

    def _heard(self, wave: Tensor) -> Tensor:
        """The energies (1, bands, 3000) of half a minute, as the extractor scales them."""
        half = self.energies.spectrum.window // 2
        filled = functional.pad(wave, (0, whisper.MOST_SAMPLES - wave.shape[1]))
        mirrored = functional.pad(filled[:, None], (half, half), "reflect")[0, 0]
        logs = self.energies(mirrored)[:-1] / math.log(10)  # no frame begins at the very end
        return ((torch.maximum(logs, logs.max() - 8) + 4) / 4).float().T[None]


class FrontEnd(OfWave):
    """Log mel energies, or their cepstra with slopes."""

    def __init__(self, settings: Fbank | Mfcc) -> None:
        super().__init__()
        window = _samples(settings.window_ms)
        self.settings, self.least = settings, max(window, MIN_SAMPLES)
        filters = frontends.mel_filters(settings.bands, window, settings.high_hz).T
        self.energies = Energies(Spectrum(window, _samples(settings.hop_ms)), filters)
        if isinstance(settings, Mfcc):
            terms = dct(np.eye(settings.bands), norm="ortho")[:, : settings.coefficients]
            self.terms = torch.from_numpy(terms.copy())

    def forward(self, wave: Tensor) -> list[Tensor]:
        """Map (1, samples) to (1, frames, width), once."""
        found = self.energies(wave[0])
        if isinstance(self.settings, Mfcc):
            parts = [found @ self.terms]
            for _ in range(self.settings.deltas):
                parts.append(_slopes(parts[-1]))
            found = torch.cat(parts, 1)[:: self.settings.every]
        return [found.float()[None]]


class Energies(nn.Module):
    """The logarithm of what filters (window // 2 + 1, bands) let through of a spectrum."""

    def __init__(self, spectrum: "Spectrum", filters: npt.NDArray[Any]) -> None:
        super().__init__()
        self.spectrum = spectrum
        self.filters = torch.from_numpy(filters.astype(np.float64))

    def forward(self, wave: Tensor) -> Tensor:
        """Map (samples,) to (frames, bands), in double precision."""
        power = self.spectrum(wave)
        logs: Tensor = (power @ self.filters).clamp(min=MIN_ENERGY).log()
        return logs


class Spectrum(nn.Module):
    """The power (frames, window // 2 + 1) of whole windows of a waveform, in double precision."""

    def __init__(self, window: int, hop: int) -> None:
        super().__init__()
        self.window, self.hop = window, hop
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
        turns = np.outer(np.arange(window), np.arange(window // 2 + 1)) % window
        waves = np.exp(-2j * np.pi * turns / window) * hann.astype(np.float32)[:, None]
        self.real = torch.from_numpy(waves.real.copy())
        self.imaginary = torch.from_numpy(waves.imag.copy())

    def forward(self, wave: Tensor) -> Tensor:
        """Map (samples,) to (frames, window // 2 + 1)."""
        count = (wave.shape[0] - self.window) // self.hop + 1
        places = torch.arange(count)[:, None] * self.hop + torch.arange(self.window)
        windows = wave[places].double()
        return (windows @ self.real).square() + (windows @ self.imaginary).square()


def _slopes(frames: Tensor) -> Tensor:
    """As `pipeline.encoders.frontends.slopes`."""
    first, last = frames[:1], frames[-1:]
    padded = torch.cat([first, first, frames, last, last])
    return (padded[3:-1] - padded[1:-3] + 2 * (padded[4:] - padded[:-4])) / 10


def _samples(length_ms: float) -> int:
    return round(length_ms * SAMPLE_RATE_HZ / 1000)
