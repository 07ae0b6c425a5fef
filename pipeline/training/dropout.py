"""Dropout that is drawn per clip, so that no result depends on how a batch was cut.

torch draws one mask for a whole tensor: split the batch, and every clip gets another. Here a draw
is a hash of (seed, epoch, clip, place in the model, frame, feature): the same in a micro-batch of
any size, on any process or device, and when a block is computed again in the backward pass.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.encoders.packing import Packing
from pipeline.work.device import send
from pipeline.work.seeds import derive

# Odd multipliers of a 32-bit hash with low bias (Chris Wellons, hash-prospector), signed.
FIRST, SECOND = 0x21F0AAAD, 0xD35A2D97 - 2**32
# 2**32 divided by the golden ratio, signed: spreads consecutive numbers.
STRIDE = 0x9E3779B9 - 2**32


class Draws:
    """What the masks of one forward and backward pass follow from."""

    keys: Tensor
    # Of packed clips, int32 (frames,): the clip's key, and what the frame's place adds.
    packed: tuple[Tensor, Tensor] | None = None

    def begin(self, seed: int, epoch: int, clips: Sequence[str], device: torch.device) -> None:
        """Name the clips that pass next, in the order of the batch's rows."""
        keys = [_signed(derive(seed, "dropout", epoch, clip)) for clip in clips]
        self.keys = send(torch.tensor(keys, dtype=torch.int32), device)
        self.packed = None

    def pack(self, packing: Packing) -> None:
        """Say how an encoder packs these clips' frames; what it makes of them may be padded."""
        self.packed = self.keys[packing.clip], STRIDE * packing.place.int()


class ClipDropout(nn.Module):
    """Dropout of (clips, ..., features), or of (1, frames, features) of packed clips.

    Each clip's mask depends on nothing but the clip, and is the same in both forms.
    """

    place: Tensor

    def __init__(self, p: float, place: int, draws: Draws) -> None:
        super().__init__()
        self.p = p
        self.draws = draws
        # No number, which a compiler would build into a kernel for each place.
        self.register_buffer("place", torch.tensor(_signed(derive("place", place))).int(), False)

    def forward(self, values: Tensor) -> Tensor:
        """Drop each value with probability ``p`` in training, and scale up the others."""
        if not self.training or self.p == 0:
            return values
        return drop(values, self._rows(values), self.p)

    def _rows(self, values: Tensor) -> Tensor:
        """What each frame's draws follow from, int32, independent of padding and of its place."""
        if self.draws.packed is not None:
            keys, offsets = self.draws.packed
            if values.shape[:2] == (1, len(keys)):
                return (keys ^ self.place) + offsets
        keys, clips = self.draws.keys ^ self.place, values.shape[0]
        if len(keys) != clips:
            raise ValueError(f"{clips} rows of {len(keys)} clips: dropout is drawn per clip")
        frames = values[0].numel() // values.shape[-1]
        return keys[:, None] + STRIDE * _count(frames, keys)


def drop(values: Tensor, rows: Tensor, p: float) -> Tensor:
    """``values`` (..., features) with some dropped, by a hash of what ``rows`` has for a frame."""
    columns = _mix(STRIDE * _count(values.shape[-1], rows))
    hashed = _mix(rows)[..., None] ^ columns
    hashed *= FIRST
    hashed ^= hashed >> 15
    hashed *= SECOND
    kept = hashed.view(values.shape) >= int(p * 2**32) - 2**31
    # Not masked_fill, which on a CPU branches at every value and takes twice as long.
    return values * kept / (1 - p)


def install(model: nn.Module, draws: Draws) -> None:
    """Make all dropout of ``model`` follow ``draws``, whatever it followed before.

    Dropout of attention weights is switched off: a mask of frames by frames per head would cost
    the fused attention kernels, which draw their own.
    """
    place, device = 0, next(model.parameters()).device
    modules: list[Any] = list(model.modules())
    for module in modules:
        if hasattr(module, "draws"):  # an encoder, which says how it packs, or dropout of before
            module.draws = draws
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                made = ClipDropout(child.p, place, draws).train(child.training)
                setattr(module, name, made.to(device))
            place += isinstance(child, nn.Dropout | ClipDropout)
        if isinstance(getattr(module, "dropout", None), float) and not isinstance(module, nn.LSTM):
            module.dropout = 0.0


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
