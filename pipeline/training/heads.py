"""From frames to one vector a clip: what stands between the encoder and the class logits."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pipeline.work.device import send


def valid(lengths: Tensor, frames: int) -> Tensor:
    """A (batch, frames) mask, True on the first ``lengths[i]`` frames of clip i."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def mean_over_time(frames: Tensor, lengths: Tensor) -> Tensor:
    """Mean of the valid frames: (batch, frames, width) to (batch, width)."""
    lengths = send(lengths, frames.device)
    mask = valid(lengths, frames.shape[1])[..., None]
    return frames.masked_fill(~mask, 0).sum(1) / lengths[:, None]


def two_layers(width: int, hidden: int, outputs: int) -> nn.Sequential:
    """GMP-ATL's linear module: two linear layers with one ReLU (section 3.1)."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def run_lstm(lstm: nn.LSTM, frames: Tensor, lengths: Tensor) -> Tensor:
    """The states of a (bi)LSTM over the valid frames alone, zero on padding."""
    packed = pack_padded_sequence(frames, lengths.cpu(), batch_first=True, enforce_sorted=False)
    states, _ = pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=frames.shape[1])
    return states
