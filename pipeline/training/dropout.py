"""Dropout that is drawn per clip, so that no result depends on how a batch was cut.

torch draws one mask for a whole tensor: split the batch, and every clip gets another. Here a draw
is a hash of (seed, epoch, clip, place in the model, frame, feature): the same in a micro-batch of
any size, on any process or device, and when a block is computed again in the backward pass.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.work.seeds import derive

# Odd multipliers of a 32-bit hash with low bias (Chris Wellons, hash-prospector), signed.
FIRST, SECOND = 0x21F0AAAD, 0xD35A2D97 - 2**32
# 2**32 divided by the golden ratio, signed: spreads consecutive numbers.
STRIDE = 0x9E3779B9 - 2**32


class Draws:
    """What the masks of one forward and backward pass follow from."""

    keys: Tensor

    def begin(self, seed: int, epoch: int, clips: Sequence[str], device: torch.device) -> None:
        """Name the clips that pass next, in the order of the batch's rows."""
        keys = [_signed(derive(seed, "dropout", epoch, clip)) for clip in clips]
        self.keys = torch.tensor(keys, dtype=torch.int32, device=device)


class ClipDropout(nn.Module):
    """Dropout of (clips, ..., features): each clip's mask depends on nothing but the clip."""

    def __init__(self, p: float, place: int, draws: Draws) -> None:
        super().__init__()
        self.p = p
        self._place = _signed(derive("place", place))
        self._draws = draws

    def forward(self, values: Tensor) -> Tensor:
        """Drop each value with probability ``p`` in training, and scale up the others."""
        if not self.training or self.p == 0:
            return values
        kept = self._hashed(values) >= int(self.p * 2**32) - 2**31
        # Not masked_fill, which on a CPU branches at every value and takes twice as long.
        return values * kept / (1 - self.p)

    def _hashed(self, values: Tensor) -> Tensor:
        """Uniform int32 of the shape of ``values``; a frame's are independent of padding."""
        clips, features = values.shape[0], values.shape[-1]
        frames = values[0].numel() // features
        keys = self._draws.keys
        if len(keys) != clips:
            raise ValueError(f"{clips} rows of {len(keys)} clips: dropout is drawn per clip")
        rows = _mix((keys ^ self._place)[:, None] + STRIDE * _count(frames, keys))
        columns = _mix(STRIDE * _count(features, keys))
        hashed = rows[..., None] ^ columns
        hashed *= FIRST
        hashed ^= hashed >> 15
        hashed *= SECOND
        return hashed.view(values.shape)


def install(model: nn.Module, draws: Draws) -> None:
    """Make all dropout of ``model`` follow ``draws``.

    Dropout of attention weights is switched off: a mask of frames by frames per head would cost
    the fused attention kernels, which draw their own.
    """
    place = 0
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                setattr(module, name, ClipDropout(child.p, place, draws).train(child.training))
                place += 1
        if isinstance(getattr(module, "dropout", None), float) and not isinstance(module, nn.LSTM):
            _without(module)


def _without(attention: Any) -> None:
    attention.dropout = 0.0


def _mix(numbers: Tensor) -> Tensor:
    numbers = (numbers ^ (numbers >> 16)) * FIRST
    numbers = (numbers ^ (numbers >> 15)) * SECOND
    return numbers ^ (numbers >> 15)


def _count(length: int, like: Tensor) -> Tensor:
    return torch.arange(length, dtype=torch.int32, device=like.device)


def _signed(seed: int) -> int:
    """The low 32 bits as a signed integer."""
    low = seed & 0xFFFFFFFF
    return low - 2**32 if low >= 2**31 else low
