"""WavLM's attention (Chen et al., 2022), whose scores have a bias of the distance between frames.

transformers hands the weights of the projections to torch and never runs their modules, so that an
adapter on one would neither act nor train. It also makes the weights of every head, to return them.
Here the projections run as modules; on a CPU, of the clip alone, every bit is transformers'.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.models.wavlm.modeling_wavlm import WavLMAttention


class Attention(WavLMAttention):
    """Takes the place of transformers' own (`install`): the same parameters, by the same names."""

    def torch_multi_head_self_attention(
        self, hidden_states: Tensor, attention_mask: Tensor | None, gated_position_bias: Tensor
    ) -> tuple[Tensor, None]:
        """Frames (clips, frames, width) to the same shape.

        Args:
            hidden_states: The frames.
            attention_mask: bool (clips, 1, frames, frames), True where a frame (the last axis) is
                seen, as of the other encoders.
            gated_position_bias: (clips * heads, frames, frames), added to the scores.
        """
        clips, frames, width = hidden_states.shape
        shape = clips, self.num_heads, frames, frames
        bias = gated_position_bias.view(shape)
        if attention_mask is not None:
            bias = bias.masked_fill(~attention_mask, -torch.inf)
        q, k, v = (
            project(hidden_states).view(clips, frames, self.num_heads, -1).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        dropout = self.dropout if self.training else 0.0
        run = fused if q.is_cuda else exact
        heard = run(q, k, v, bias, dropout).transpose(1, 2).reshape(clips, frames, width)
        return self.out_proj(heard), None


def exact(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, dropout: float) -> Tensor:
    """Attention of (clips, heads, frames, width of a head) in the operations of transformers."""
    scaled, keys, values = q.flatten(0, 1) * q.shape[-1] ** -0.5, k.flatten(0, 1), v.flatten(0, 1)
    weights = torch.baddbmm(bias.flatten(0, 1), scaled, keys.transpose(1, 2)).softmax(-1)
    return torch.bmm(functional.dropout(weights, dropout), values).view(q.shape)


def fused(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, dropout: float) -> Tensor:
    """The same by one kernel of a GPU, which keeps no weights for the backward pass."""
    return functional.scaled_dot_product_attention(q, k, v, bias, dropout)


def install(model: Any) -> None:
    """Put `Attention` into a new encoder, in place; one that has no such bias stays as it is."""
    for module in model.modules():
        if type(module) is WavLMAttention:
            module.__class__ = Attention


def bias(model: Any, states: Tensor) -> Tensor | None:
    """The bias of frames (clips, frames, width): (clips * heads, frames, frames), before the gate.

    The first block has its weights, and every block gates it anew. None for other encoders.
    """
    attention = model.encoder.layers[0].attention
    if not isinstance(attention, Attention):
        return None
    clips, frames, _ = states.shape
    found: Tensor = attention.compute_bias(frames, frames)
    return found.repeat(clips, 1, 1)
