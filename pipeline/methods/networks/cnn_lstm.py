"""Convolutions, an LSTM and, in architecture 2, attention: from cached frames to a vector a clip.

The two networks of "Effect of Attention and Self-Supervised Speech Embeddings on Non-Semantic
Speech Tasks", ACM MM 2023, section 2.4; the widths of its text's symbols and the layer norms of
architecture 2 are those of its published code. `pipeline.methods.networks.regressor` makes values
of them.

A clip's result is the same alone and in any batch: padding is zeroed after every convolution, as
the convolution pads a clip alone, and the LSTM runs forwards in time, so that what follows a
clip's last frame never reaches it. (Packing the sequences would give the same, but on a CPU it
trains three to five times slower.) The published code lets padding in at two places, which are
left out: a norm over time before the LSTM, here one over the width of each frame, and a norm of
the attention weights after the softmax, over 199 fixed slots.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.training.heads import mean_over_time, valid

Scaling = Literal["sqrt", "width"]  # of the attention's scores


class Trunk(nn.Module):
    """What both architectures share: convolutions that halve the length, then two LSTM layers."""

    def __init__(self, width: int, conv: Sequence[int], lstm_width: int, normalize: bool) -> None:
        super().__init__()
        self.conv = nn.ModuleList(
            nn.Conv1d(a, b, 3, padding=1) for a, b in pairwise([width, *conv])
        )
        # An odd last frame is dropped, as without ceil_mode, except where it is the only one.
        self.halved: nn.Module = nn.MaxPool1d(2, ceil_mode=True)
        self.norm = nn.LayerNorm(conv[-1]) if normalize else nn.Identity()
        # One layer each, since the final hidden states of both are wanted at each clip's own end.
        self.lower: nn.Module = nn.LSTM(conv[-1], lstm_width, batch_first=True)
        self.upper: nn.Module = nn.LSTM(lstm_width, lstm_width, batch_first=True)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Summarise frames in time.

        Args:
            frames: (batch, frames, width); what lies on padding is not read.
            lengths: (batch,) valid frames of each clip, at least 1.

        Returns:
            The upper layer's states (batch, frames / 2, lstm_width); the final hidden states of
            both layers (batch, 2 lstm_width); the halved lengths (batch,).
        """
        padding = ~valid(lengths, frames.shape[1])[:, None]
        hidden = frames.transpose(1, 2).masked_fill(padding, 0)
        for conv in self.conv:
            hidden = torch.relu(conv(hidden)).masked_fill(padding, 0)
        halved = self.halved(hidden).transpose(1, 2)
        lengths = (lengths // 2).clamp(min=1)
        lower = self.lower(self.norm(halved))[0]
        upper = self.upper(lower)[0]
        clip = torch.arange(len(lengths), device=lengths.device)
        final = torch.cat([lower[clip, lengths - 1], upper[clip, lengths - 1]], 1)
        return upper, final, lengths


class CnnLstm(nn.Module):
    """Architecture 1: the mean of the LSTM's states over the valid frames (equation 1)."""

    def __init__(self, width: int, conv: Sequence[int], lstm_width: int) -> None:
        super().__init__()
        self.trunk = Trunk(width, conv, lstm_width, normalize=False)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Map (batch, frames, width) to (batch, lstm_width)."""
        states, _, lengths = self.trunk(frames, lengths)
        return mean_over_time(states, lengths)


class CnnLstmAttention(nn.Module):
    """Architecture 2: one query per clip attends to the LSTM's states (equations 2a and 2b).

    ``scale`` divides the scores: by the root of the width, as in the published code and in
    Vaswani et al. 2017, or by the width, as printed in equation 2b (where `conclusion` is softmax).
    """

    def __init__(self, width: int, conv: Sequence[int], lstm_width: int, scale: Scaling) -> None:
        super().__init__()
        self.trunk = Trunk(width, conv, lstm_width, normalize=True)
        self.query = nn.Linear(2 * lstm_width, lstm_width)
        self.divisor = lstm_width if scale == "width" else lstm_width**0.5

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Map (batch, frames, width) to (batch, lstm_width)."""
        states, final, lengths = self.trunk(frames, lengths)
        scores = (states @ self.query(final)[:, :, None]).squeeze(2) / self.divisor
        padding = ~valid(lengths, states.shape[1])
        weights = scores.masked_fill(padding, -torch.inf).softmax(1)
        attended: Tensor = (weights[:, None] @ states).squeeze(1)
        return attended
