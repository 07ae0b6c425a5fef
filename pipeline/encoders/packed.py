"""The forward pass of a GPU: clips packed one behind the other, from waveforms to frames.

No padding is computed, no clip waits for a longer one, and a new length costs what a known one
costs. Up to rounding it is what `pipeline.encoders.forward` gives on a CPU, whatever the batch.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.encoders import blocks, convolutions
from pipeline.encoders.encoder import is_frozen
from pipeline.encoders.layers import Layer
from pipeline.encoders.packing import Packing
from pipeline.work.device import send

# Frames that one product of the positional convolution gives: 12 % more operations than the
# convolution at HuBERT's 128 taps, at the rate of a matrix product.
STRETCH = 16


def hidden(
    model: Any,
    waves: Sequence[Tensor],
    layers: Sequence[Layer],
    masks: Sequence[Tensor] | None = None,
) -> tuple[dict[Layer, Tensor], Packing]:
    """As `forward.hidden`, but packed: per layer (frames, width), and how the clips lie in it."""
    features = front_ends(model, waves)
    packing = Packing([len(frames) for frames in features], features[0].device)
    if model.draws is not None and model.training:
        model.draws.pack(packing)
    states = project(model, torch.cat(features)[None])
    if masks is not None:
        masked = send(torch.cat(list(masks)), states.device)
        states = torch.where(masked[:, None], model.masked_spec_embed.to(states), states)
    states = states + _positions(model.encoder.pos_conv_embed, states[0], packing)
    bounds = packing.ends, packing.longest
    found = blocks.pass_through(model, states, layers, attention_mask=None, bounds=bounds)
    return {layer: frames[0] for layer, frames in found.items()}, packing


def front_ends(model: Any, waves: Sequence[Tensor]) -> list[Tensor]:
    """As `forward.front_ends`: the convolutions of all waveforms together."""
    raw = [wave for wave in waves if wave.ndim == 1]
    if not raw:
        return list(waves)
    trains = torch.is_grad_enabled() and not is_frozen(model.feature_extractor)
    with torch.set_grad_enabled(trains):
        frames, lengths = convolutions.front_end(model, raw, _dtype(model))
    made = iter(frames.split(lengths))
    return [next(made) if wave.ndim == 1 else wave for wave in waves]


def project(model: Any, features: Tensor) -> Tensor:
    """What the convolutions gave, (clips, frames, channels), in the blocks' width."""
    states = model.feature_projection(features)
    # wav2vec 2.0 returns the normalised features too.
    projected: Tensor = states[0] if isinstance(states, tuple) else states
    return projected


def _dtype(model: Any) -> torch.dtype:
    weight: Tensor = model.feature_projection.projection.weight
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


def _positions(module: Any, states: Tensor, packing: Packing) -> Tensor:
    """The positional embedding of packed frames, (frames, width): a block-Toeplitz product.

    `STRETCH` frames of output are a product of as many and the kernel's length of input, batched
    over groups. cuDNN takes 33 ms for 40,000 frames in 16 bits (H200).
    """
    conv = module.conv
    kernel, groups, width = conv.kernel_size[0], conv.groups, states.shape[1]
    margin = kernel // 2  # of zeros, between clips
    gaps = margin * torch.arange(len(packing.rows), device=states.device)
    places = packing.spaced(packing.ends[:-1] + gaps)
    stretches = -(-(packing.total + margin * len(packing.rows)) // STRETCH)
    weights = _toeplitz(conv.weight.to(states.dtype), groups)
    spread = states.new_zeros((stretches + weights.shape[1] - 1) * STRETCH, width)
    spread = spread.index_copy(0, places + margin, states)
    grouped = spread.view(-1, groups, width // groups).transpose(0, 1)
    grouped = grouped.reshape(groups, -1, weights.shape[2])
    made = torch.bmm(grouped[:, :stretches], weights[:, 0])
    for turn in range(1, weights.shape[1]):
        made.baddbmm_(grouped[:, turn : turn + stretches], weights[:, turn])
    made = made.view(groups, -1, width // groups).transpose(0, 1).reshape(-1, width)
    embedded: Tensor = module.activation(made.index_select(0, places) + conv.bias.to(made))
    return embedded


def _toeplitz(weight: Tensor, groups: int) -> Tensor:
    """(width, width of a group, kernel) to (groups, stretches of input, of which, of output)."""
    width, within, kernel = weight.shape
    stretches = -(-(STRETCH + kernel - 1) // STRETCH)
    taps = weight.view(groups, width // groups, within, kernel).permute(0, 3, 2, 1)
    # Places of input by which an output frame's taps are shifted, from the last frame to the first.
    zeros = (0, 0, 0, 0, STRETCH - 1, stretches * STRETCH - kernel)
    shifted = functional.pad(taps, zeros).unfold(1, STRETCH, 1).flip(-1)
    made = shifted.transpose(3, 4)  # (groups, place of input, channel, place of output, channel)
    return made.reshape(groups, stretches, STRETCH * within, -1)
