"""From frames to one vector a clip: what stands between the encoder and the class logits."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pipeline.work.device import send

# Equal frames have no deviation, and its root there no gradient.
LEAST_VARIANCE = 1e-6


def valid(lengths: Tensor, frames: int) -> Tensor:
    """A (batch, frames) mask, True on the first ``lengths[i]`` frames of clip i."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def mean_over_time(frames: Tensor, lengths: Tensor) -> Tensor:
    """Mean of the valid frames: (batch, frames, width) to (batch, width)."""
    lengths = send(lengths, frames.device)
    mask = valid(lengths, frames.shape[1])[..., None]
    return frames.masked_fill(~mask, 0).sum(1) / lengths[:, None]


def mean_max(frames: Tensor, lengths: Tensor) -> Tensor:
    """Mean and maximum of the valid frames: (batch, frames, width) to (batch, 2 width)."""
    padding = ~valid(send(lengths, frames.device), frames.shape[1])[..., None]
    highest = frames.masked_fill(padding, -torch.inf).amax(1)
    return torch.cat([mean_over_time(frames, lengths), highest], 1)


class AttentiveStatistics(nn.Module):
    """Mean and deviation of the frames under learnt weights (Okabe et al., 2018, section 3).

    Of tanh, and as wide as the frames, as in the baseline of the MSP-Podcast challenge (2024).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)  # a bias moves no softmax

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Map (batch, frames, width) to (batch, 2 width); what lies on padding is not read."""
        padding = ~valid(send(lengths, frames.device), frames.shape[1])[..., None]
        kept = frames.masked_fill(padding, 0)
        scores = self.score(self.hidden(kept).tanh()).masked_fill(padding, -torch.inf)
        weights = scores.float().softmax(1)
        mean = (weights * kept).sum(1)
        variance = (weights * (kept - mean[:, None]).square()).sum(1)
        return torch.cat([mean, variance.clamp(min=LEAST_VARIANCE).sqrt()], 1)


def two_layers(width: int, hidden: int, outputs: int) -> nn.Sequential:
    """GMP-ATL's linear module: two linear layers with one ReLU (section 3.1)."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def run_lstm(lstm: nn.LSTM, frames: Tensor, lengths: Tensor) -> Tensor:
    """The states of a BiLSTM of one layer over the valid frames alone, zero on padding.

    A GPU in 16 bits takes each direction alone and padded: cuDNN then keeps the weights on the chip
    over all frames, else it starts several kernels for each frame.
    """
    if frames.is_cuda and torch.is_autocast_enabled("cuda"):
        return by_direction(lstm, frames, lengths)
    packed = pack_padded_sequence(frames, lengths.cpu(), batch_first=True, enforce_sorted=False)
    states, _ = pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=frames.shape[1])
    return states


def by_direction(lstm: nn.LSTM, frames: Tensor, lengths: Tensor) -> Tensor:
    """As `run_lstm`, of two LSTMs over padded clips, of which one hears each clip backwards."""
    own = valid(send(lengths, frames.device), frames.shape[1])
    place = torch.arange(frames.shape[1], device=frames.device)
    mirrored = torch.where(own, own.sum(1, keepdim=True) - 1 - place, place)[..., None]
    backwards = _states(lstm, _swapped(frames, mirrored), "_reverse")
    both = _states(lstm, frames, ""), _swapped(backwards, mirrored)
    return torch.cat(both, 2).masked_fill(~own[..., None], 0)


def _states(lstm: nn.LSTM, frames: Tensor, direction: str) -> Tensor:
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    weights = [getattr(lstm, name + direction) for name in names]
    start = frames.new_zeros(1, len(frames), lstm.hidden_size)
    found: Tensor = torch.lstm(
        frames, (start, start), weights, True, 1, 0.0, lstm.training, False, True
    )[0]
    return found


class _Swapped(torch.autograd.Function):
    """Frames that change places in pairs: so do their gradients, which torch would add up."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        return frames.take_along_dim(places, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        return gradient.take_along_dim(places, 1), None


_swapped: Callable[[Tensor, Tensor], Tensor] = _Swapped.apply
