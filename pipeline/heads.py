"""From frames to one vector a clip: what stands between the encoder and the class logits."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def valid(lengths: Tensor, frames: int) -> Tensor:
    """A (batch, frames) mask, True on the first ``lengths[i]`` frames of clip i."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def mean_over_time(frames: Tensor, lengths: Tensor) -> Tensor:
    """Mean of the valid frames: (batch, frames, width) to (batch, width)."""
    lengths = lengths.to(frames.device)
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


class Pool(nn.Module):
    """Projection of each frame, then the mean over time: transformers' classification head."""

    def __init__(self, width: int, projection: int) -> None:
        super().__init__()
        self.projector = nn.Linear(width, projection)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Map (batch, frames, width) to (batch, projection)."""
        return mean_over_time(self.projector(frames), lengths)


class BiLstm(nn.Module):
    """BiLSTM, mean over time, linear layer, ReLU (GMP-ATL, figure 1a, less the last layer)."""

    def __init__(self, width: int, lstm_width: int, projection: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, lstm_width, batch_first=True, bidirectional=True)
        self.projector = nn.Linear(2 * lstm_width, projection)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Map (batch, frames, width) to (batch, projection); padding is never read."""
        states = run_lstm(self.lstm, frames, lengths)
        return torch.relu(self.projector(mean_over_time(states, lengths)))
