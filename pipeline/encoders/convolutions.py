"""The convolutional front end of packed waveforms, without padding and without cuDNN.

Waveforms lie one behind the other, each in a slot of whole hops. A strided convolution over the
whole buffer is a matrix product on a view of it; where a frame's field lies in a clip, it is the
clip's own, and the one or two others of each slot are dropped at the end. cuDNN would make a plan
for every new length, which takes longer than the convolution.

Base-size models normalise the first convolution over time (`feat_extract_norm: group`). Mean and
variance of its outputs follow from the mean and covariance of a clip's windows of samples, so that
the norm becomes part of the clip's own weights: the outputs pass memory once.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.encoders.layout import HOP_SAMPLES, frame_count
from pipeline.encoders.packing import Packing
from pipeline.work.device import send

# What transformers adds to a waveform's variance before it divides by it.
EPSILON = 1e-7
# Silence is divided by it; a step of 16 bits is 3e-5.
QUIETEST = 1e-6
# Tensor cores want rows of whole 16 bytes.
ALIGNED = 8


def front_end(model: Any, waves: Sequence[Tensor], dtype: torch.dtype) -> tuple[Tensor, list[int]]:
    """Waveforms, (samples,) each, to packed frames (frames, channels), and the frames of each.

    Computes in ``dtype``, statistics in fp64. Differentiable in the weights.
    """
    first, *others = model.feature_extractor.conv_layers
    slots = Slots(waves, first.conv.weight.device)
    if isinstance(getattr(first, "layer_norm", None), torch.nn.GroupNorm):
        states = _normed_over_time(first, slots, model.do_normalize, dtype)
    else:
        states = _first(first, slots, model.do_normalize, dtype)
    for layer in others:
        states = _convolve(layer.conv, states, dtype)
        states = layer.activation(_normed(layer, states))
    return states.index_select(0, slots.own), slots.frames


class Slots:
    """Waveforms one behind the other, each from the start of a slot of `HOP_SAMPLES`.

    Attributes:
        packing: The slots of each clip.
        samples: Of each clip, int64 (clips,) on the device.
        values: The samples, fp32 (slots, `HOP_SAMPLES`), zero behind each clip.
        frames: Of each clip, on the host.
    """

    def __init__(self, waves: Sequence[Tensor], device: torch.device) -> None:
        lengths = [len(wave) for wave in waves]
        self.packing = Packing([-(-length // HOP_SAMPLES) for length in lengths], device)
        self.samples = send(torch.tensor(lengths), device)
        self.frames = [frame_count(length) for length in lengths]
        self.values = send(_laid_out(waves, device), device).view(-1, HOP_SAMPLES)

    @property
    def own(self) -> Tensor:
        """Where the clips' own frames lie among all of the buffer's, int64 (frames,)."""
        return Packing(self.frames, self.samples.device).spaced(self.packing.ends[:-1])

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of each clip's samples, fp64 (clips,)."""
        values = self.values.double()
        mean = self.packing.sum(values.sum(1)) / self.samples
        power = self.packing.sum(values.square().sum(1)) / self.samples
        return mean, (power - mean**2).clamp_min(0)

    def windows(self, conv: Any, minus: Tensor, times: Tensor, dtype: torch.dtype) -> Tensor:
        """What ``conv`` sees of ``(samples - minus) * times``, (slots, windows of each, columns).

        Its samples, then a column of ones, for what is added to the outputs, then others that fill
        a row up, for which weights are zero.
        """
        clip, per_slot = self.packing.clip, HOP_SAMPLES // conv.stride[0]
        scaled = (self.values - minus[clip][:, None]) * times[clip][:, None]
        scaled = scaled * self._inside(HOP_SAMPLES, self.samples)
        columns = -(-(conv.kernel_size[0] + 1) // ALIGNED) * ALIGNED
        shape = len(clip) * per_slot, columns
        padded = functional.pad(scaled.to(dtype).flatten(), (0, columns))
        windows = padded.as_strided(shape, (conv.stride[0], 1)).clone()
        windows[:, conv.kernel_size[0]] = 1
        return windows.view(-1, per_slot, columns)

    def window_moments(self, conv: Any, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (clips, kernel) and covariance (clips, kernel, kernel) of a clip's own windows."""
        counts = (self.samples - conv.kernel_size[0]) // conv.stride[0] + 1
        own = windows[..., : conv.kernel_size[0]].double()
        own = own * self._inside(own.shape[1], counts)[..., None]
        mean = self.packing.sum(own.sum(1)) / counts[:, None]
        products = self.packing.sum(own.transpose(1, 2) @ own) / counts[:, None, None]
        return mean, products - mean[:, :, None] * mean[:, None]

    def _inside(self, per_slot: int, counts: Tensor) -> Tensor:
        """Which of a slot's ``per_slot`` are among the first ``counts`` of its clip, bool."""
        within = torch.arange(per_slot, device=counts.device)
        limit = counts[self.packing.clip] - per_slot * self.packing.place
        return within < limit[:, None]


def _laid_out(waves: Sequence[Tensor], device: torch.device) -> Tensor:
    """The waveforms where slots have them, (samples,); for a GPU in memory that it reads itself."""
    ends = list(accumulate(-(-len(wave) // HOP_SAMPLES) * HOP_SAMPLES for wave in waves))
    place = waves[0].device
    pinned = device.type == "cuda" and place.type == "cpu"
    laid = torch.empty(ends[-1], device=place, pin_memory=pinned)
    for wave, start, end in zip(waves, [0, *ends], ends, strict=False):
        laid[start : start + len(wave)] = wave
        laid[start + len(wave) : end] = 0
    return laid


def _first(layer: Any, slots: Slots, normalize: bool, dtype: torch.dtype) -> Tensor:
    """The first convolution of large models, (rows, channels)."""
    conv = layer.conv
    with torch.no_grad():
        mean, variance = slots.moments()
        minus, times = mean, (variance + EPSILON).rsqrt()
        if not normalize:
            minus, times = torch.zeros_like(mean), torch.ones_like(mean)
        windows = slots.windows(conv, minus, times, dtype).flatten(0, 1)
    bias = torch.zeros_like(conv.weight[:, 0, 0]) if conv.bias is None else conv.bias
    weights = _columns(conv.weight[:, 0].T, bias[None], windows.shape[1]).to(dtype)
    made: Tensor = layer.activation(_normed(layer, windows @ weights))
    return made


def _normed_over_time(layer: Any, slots: Slots, normalize: bool, dtype: torch.dtype) -> Tensor:
    """The first convolution of base models and its norm over time, (rows, channels).

    The norm undoes any offset and, but for its epsilon, any gain: clips pass at one loudness,
    without their offset, so that neither is lost in the last bits.
    """
    conv, norm = layer.conv, layer.layer_norm
    with torch.no_grad():
        mean, variance = slots.moments()
        loudness = variance.sqrt().clamp_min(QUIETEST)
        windows = slots.windows(conv, mean, 1 / loudness, dtype)
        middle, covariance = slots.window_moments(conv, windows)
        heard = loudness * (variance + EPSILON).rsqrt() if normalize else loudness
    weight = conv.weight[:, 0].double()  # (channels, kernel); a bias would fall out
    spread = torch.einsum("oi,cij,oj->co", weight, covariance, weight)
    scale = norm.weight * (spread + (norm.eps / heard**2)[:, None]).rsqrt()
    shift = norm.bias - scale * (middle @ weight.T)
    weights = _columns(scale[:, None] * weight.T, shift[:, None], windows.shape[2]).to(dtype)
    made = torch.bmm(windows, weights.index_select(0, slots.packing.clip))
    activated: Tensor = layer.activation(made.flatten(0, 1))
    return activated


def _columns(weight: Tensor, shift: Tensor, rows: int) -> Tensor:
    """Weights for what `Slots.windows` gives: of the samples, of the ones, zeros to ``rows``."""
    both = torch.cat([weight, shift], -2)
    return functional.pad(both, (0, 0, 0, rows - both.shape[-2]))


def _convolve(conv: Any, states: Tensor, dtype: torch.dtype) -> Tensor:
    """A strided convolution of all rows, (rows, channels) to (rows / stride, channels).

    Row t takes the steps of ``stride`` rows at t, t + 1, ...: a product for each, nothing unfolded.
    """
    weight = conv.weight.permute(2, 1, 0).flatten(0, 1).to(dtype)
    steps = states.to(dtype).reshape(-1, conv.stride[0] * states.shape[1])
    first, *others = weight.split(steps.shape[1])
    bias = None if conv.bias is None else conv.bias.to(dtype)
    made = functional.linear(steps[:, : len(first)], first.T, bias)
    for turn, part in enumerate(others, 1):
        made[:-turn].addmm_(steps[turn:, : len(part)], part)
    return made


def _normed(layer: Any, states: Tensor) -> Tensor:
    """After the norm over channels, which all convolutions of large models have."""
    normed: Tensor = layer.layer_norm(states) if hasattr(layer, "layer_norm") else states
    return normed
