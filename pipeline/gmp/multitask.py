"""The multi-task model, first stage of GMP-ATL: emotion and gender from one BiLSTM."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.encoders import forward
from pipeline.training import heads, losses
from pipeline.training.waves import Batch
from pipeline.work.device import send


class Multitask(nn.Module):
    """Encoder, BiLSTM, mean over time, a linear module per attribute (GMP-ATL, figure 1a)."""

    def __init__(self, encoder: Any, classes: int, lstm_width: int, emotion_weight: float) -> None:
        super().__init__()
        width = 2 * lstm_width
        self.encoder = encoder
        self.lstm = nn.LSTM(
            encoder.config.hidden_size, lstm_width, batch_first=True, bidirectional=True
        )
        self.emotion = heads.two_layers(width, width, classes)
        self.gender = heads.two_layers(width, width, 2)
        self.emotion_weight = emotion_weight

    def forward(self, waves: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Map clips, each (samples,), to logits of emotion (clips, classes) and gender."""
        hidden, lengths = forward.hidden(self.encoder, waves, ["last"])
        vectors = heads.mean_over_time(heads.run_lstm(self.lstm, hidden["last"], lengths), lengths)
        return self.emotion(vectors), self.gender(vectors)

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Equation 1 summed over the clips, and their number."""
        emotion, gender = self(batch.waves)
        emotions = send(torch.tensor([e.label for e in batch.examples]), emotion.device)
        known = [-1 if e.gender is None else e.gender for e in batch.examples]
        genders = send(torch.tensor(known), emotion.device)
        total = losses.emotion_and_gender_sum(
            emotion, gender, emotions, genders, self.emotion_weight
        )
        return total, len(batch.examples)
