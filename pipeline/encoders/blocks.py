"""The transformer blocks, which padded and packed clips pass alike.

Blocks are transformers' own modules, so that adapters, dropout and every kind of encoder work in
both forms. What differs is attention: `attend` is registered with transformers under `ATTENTION`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from pipeline.encoders.layers import Layer, depths

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
    wanted = depths(layers, len(encoder.layers))
    final_norm = getattr(model.config, "do_stable_layer_norm", False)  # data2vec has one style
    if not final_norm:
        states = encoder.layer_norm(states)
    found = [encoder.dropout(states)]
    through = _through
    if model.training and model.fuse:
        through = _fused()
        # Adapters leave the first block an input without a gradient: a second kernel for that one.
        found[0].requires_grad_(torch.is_grad_enabled())
    for block in encoder.layers[: max(wanted.values())]:
        if model.training and model.recompute:
            # No state of a generator to keep: no draw in training follows from one.
            run = partial(through, block, **attention)
            made = checkpoint(run, found[-1], use_reentrant=False, preserve_rng_state=False)
        else:
            made = through(block, found[-1], **attention)
        # WavLM returns the bias of positions too.
        found.append(made[0] if isinstance(made, tuple) else made)
    frames: dict[Layer, Tensor] = {layer: found[place] for layer, place in wanted.items()}
    if final_norm and "last" in frames:
        frames["last"] = encoder.layer_norm(frames["last"])
    return frames


def _through(block: Any, states: Tensor, **attention: Any) -> Any:
    return block(states, **attention)


@cache
def _fused() -> Callable[..., Any]:
    """`_through` as few kernels, compiled once for blocks and batches of any size.

    Called op by op, a block keeps the host busy for longer than a GPU takes to compute it.
    """
    # Rates and epsilons are constants; what dropout follows from is as long as the batch.
    torch._dynamo.config.specialize_float = True
    torch._dynamo.config.force_nn_module_property_static_shapes = False
    return torch.compile(_through, dynamic=True, fullgraph=True)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    bounds: tuple[Tensor, int] | None = None,
    **given: Any,
) -> tuple[Tensor, None]:
    """Self-attention of (clips, heads, frames, width of a head), or of one row of packed clips.

    A packed frame attends to its clip alone: ``bounds`` are ``ends`` and ``longest`` of a
    `Packing`. The result is (clips, frames, heads, width of a head).

    Raises:
        ValueError: Weights of packed frames are to be dropped, which `training.dropout` has not.
    """
    if bounds is None:
        made: Tensor = sdpa_attention_forward(module, query, key, value, attention_mask, **given)[0]
        return made, None
    if given.get("dropout"):
        raise ValueError("packed clips: no dropout of attention weights")
    q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))
    if not query.is_cuda:
        found = _by_length(q, k, v, bounds[0])
    elif query.dtype is torch.float32 or torch.cuda.get_device_capability() < (8, 0):
        found = _memory_efficient(q, k, v, *bounds)
    else:
        found = _flash(q, k, v, *bounds)
    return found[None], None


def _flash(q: Tensor, k: Tensor, v: Tensor, ends: Tensor, longest: int) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    found = varlen_attn(q, k, v, ends, ends, longest, longest)
    return found if isinstance(found, Tensor) else found[0]


def _memory_efficient(q: Tensor, k: Tensor, v: Tensor, ends: Tensor, longest: int) -> Tensor:
    """In fp32, and where a card is too old for flash attention: what nested tensors run, too."""
    found: Tensor = torch.ops.aten._efficient_attention_forward(
        q[None], k[None], v[None], None,
        ends, ends, longest, longest,
        dropout_p=0.0, custom_mask_type=0, compute_log_sumexp=torch.is_grad_enabled(),
    )[0]  # fmt: skip
    return found[0]


def _by_length(q: Tensor, k: Tensor, v: Tensor, ends: Tensor) -> Tensor:
    """On a CPU: clips of one length together."""
    found = torch.empty_like(q)
    for places in _of_one_length(ends):
        one, two, three = (states[places].transpose(1, 2) for states in (q, k, v))
        heard = functional.scaled_dot_product_attention(one, two, three).transpose(1, 2)
        found = found.index_copy(0, places.flatten(), heard.flatten(0, 1))
    return found


def _of_one_length(ends: Tensor) -> Iterator[Tensor]:
    """The rows of clips of one length, int64 (clips, rows of each); each row once."""
    starts = defaultdict(list)
    for start, rows in zip(ends.tolist(), ends.diff().tolist(), strict=False):
        starts[rows].append(start)
    for rows, firsts in starts.items():
        yield torch.tensor(firsts)[:, None] + torch.arange(rows)


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
