"""The transformer blocks, which padded and packed clips pass alike.

Blocks are transformers' own modules, so that adapters, dropout and every kind of encoder work in
both forms. What differs is attention: `attend` is registered with transformers under `ATTENTION`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from pipeline.encoders.layers import Layer, index
from pipeline.encoders.packing import Packing

ATTENTION = "clips"


def pass_through(
    model: Any, states: Tensor, layers: Sequence[Layer], **attention: Any
) -> dict[Layer, Tensor]:
    """Frames with their positions, (1 or clips, frames, width), through the blocks.

    Up to the highest of ``layers``; ``attention`` is what the blocks hand on to `attend`.

    Raises:
        PipelineError: There is no such layer.
    """
    encoder = model.encoder
    blocks = len(encoder.layers)
    places = {layer: blocks if layer == "last" else index(layer, blocks) for layer in layers}
    final_norm = getattr(model.config, "do_stable_layer_norm", False)  # data2vec has one style
    if not final_norm:
        states = encoder.layer_norm(states)
    found = [encoder.dropout(states)]
    for block in encoder.layers[: max(places.values())]:
        if model.training and model.recompute:
            # No state of a generator to keep: no draw in training follows from one.
            run = partial(block, **attention)
            made = checkpoint(run, found[-1], use_reentrant=False, preserve_rng_state=False)
        else:
            made = block(found[-1], **attention)
        # WavLM returns the bias of positions too.
        found.append(made[0] if isinstance(made, tuple) else made)
    frames: dict[Layer, Tensor] = {layer: found[place] for layer, place in places.items()}
    if final_norm and "last" in frames:
        frames["last"] = encoder.layer_norm(frames["last"])
    return frames


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    packing: Packing | None = None,
    **given: Any,
) -> tuple[Tensor, None]:
    """Self-attention of (clips, heads, frames, width of a head), or of one row of packed clips.

    A packed frame attends to its clip alone. The result is (clips, frames, heads, width of a head).

    Raises:
        ValueError: Weights of packed frames are to be dropped, which `training.dropout` has not.
    """
    if packing is None:
        made: Tensor = sdpa_attention_forward(module, query, key, value, attention_mask, **given)[0]
        return made, None
    if given.get("dropout"):
        raise ValueError("packed clips: no dropout of attention weights")
    q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))
    if not query.is_cuda:
        found = _by_length(q, k, v, packing)
    elif query.dtype is torch.float32 or torch.cuda.get_device_capability() < (8, 0):
        found = _memory_efficient(q, k, v, packing)
    else:
        found = _flash(q, k, v, packing)
    return found[None], None


def _flash(q: Tensor, k: Tensor, v: Tensor, packing: Packing) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    ends, longest = packing.ends, packing.longest
    found = varlen_attn(q, k, v, ends, ends, longest, longest)
    return found if isinstance(found, Tensor) else found[0]


def _memory_efficient(q: Tensor, k: Tensor, v: Tensor, packing: Packing) -> Tensor:
    """In fp32, and where a card is too old for flash attention: what nested tensors run, too."""
    found: Tensor = torch.ops.aten._efficient_attention_forward(
        q[None], k[None], v[None], None,
        packing.ends, packing.ends, packing.longest, packing.longest,
        dropout_p=0.0, custom_mask_type=0, compute_log_sumexp=torch.is_grad_enabled(),
    )[0]  # fmt: skip
    return found[0]


def _by_length(q: Tensor, k: Tensor, v: Tensor, packing: Packing) -> Tensor:
    """On a CPU: clips of one length together."""
    found = torch.empty_like(q)
    for places in packing.of_one_length():
        one, two, three = (states[places].transpose(1, 2) for states in (q, k, v))
        heard = functional.scaled_dot_product_attention(one, two, three).transpose(1, 2)
        found = found.index_copy(0, places.flatten(), heard.flatten(0, 1))
    return found


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
