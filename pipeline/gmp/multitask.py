"""The multi-task model, first stage of GMP-ATL: emotion and gender from one BiLSTM.

In the place of emotion's classes there may be what raters said: votes, or dimensions.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.encoders import forward
from pipeline.splits.task import Example
from pipeline.training import heads, losses
from pipeline.training.waves import Batch
from pipeline.work.device import send


class Multitask(nn.Module):
    """Encoder, BiLSTM, mean over time, a linear module per attribute (GMP-ATL, figure 1a).

    ``outputs`` are those of emotion; ``ratings`` is its loss, where that is not cross-entropy.
    """

    def __init__(
        self,
        encoder: Any,
        outputs: int,
        lstm_width: int,
        emotion_weight: float,
        ratings: losses.Ratings | None = None,
    ) -> None:
        super().__init__()
        width = 2 * lstm_width
        self.encoder = encoder
        self.lstm = nn.LSTM(
            encoder.config.hidden_size, lstm_width, batch_first=True, bidirectional=True
        )
        self.emotion = heads.two_layers(width, width, outputs)
        self.gender = heads.two_layers(width, width, 2)
        self.emotion_weight = emotion_weight
        self.ratings = ratings

    def forward(self, waves: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Map clips, each (samples,), to logits of emotion (clips, classes) and gender."""
        hidden, lengths = forward.hidden(self.encoder, waves, ["last"])
        vectors = heads.mean_over_time(heads.run_lstm(self.lstm, hidden["last"], lengths), lengths)
        return self.emotion(vectors), self.gender(vectors)

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Equation 1 summed over the clips, and their number."""
        emotion, gender = self(batch.waves)
        known = [-1 if e.gender is None else e.gender for e in batch.examples]
        genders = send(torch.tensor(known), emotion.device)
        own = self._emotion_loss(emotion, batch.examples)
        total = losses.with_gender_sum(own, gender, genders, self.emotion_weight)
        return total, len(batch.examples)

    def _emotion_loss(self, outputs: Tensor, found: Sequence[Example]) -> Tensor:
        if self.ratings is None:
            labels = send(torch.tensor([example.label for example in found]), outputs.device)
            return losses.cross_entropy_sum(outputs, labels)
        values = send(torch.tensor([example.values for example in found]), outputs.device)
        loss: Tensor = self.ratings(self.ratings.scaled(outputs.float()), values)
        return loss
