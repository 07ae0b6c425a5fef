"""Regressors of shares or dimensions on cached frames: a head, a feed-forward network, values.

`pipeline.methods.networks.regression` feeds and keeps them. Separate ones train together: every one
passes over the same batch in turn, so that reading and padding happen once, and each stops early on
its own dev loss.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from pipeline.ground.params import Section
from pipeline.methods.finetuning import SCHEMA, Classes, Count, Network
from pipeline.methods.networks.cnn_lstm import CnnLstm, CnnLstmAttention, Scaling
from pipeline.training import losses
from pipeline.training.fit import Together

Counts = Annotated[list[Count], Field(min_length=1, max_length=16)]


class Design(Section):
    """What fixes the regressors of a task; stored as their ``networks.json``.

    ``classes`` names the values, with their ``means`` and ``deviations`` over the training clips:
    in these units an output that is ``linear`` and the loss are. ``joint`` is one network with an
    output for each value, else each value has one. ``width`` is that of the frames, ``conv`` the
    widths of the convolutions, ``feed_forward`` those between the head and the output.
    """

    version: SCHEMA = 3
    head: Network
    classes: Classes
    means: list[float]
    deviations: list[Annotated[float, Field(gt=0)]]
    joint: bool
    width: Count
    conv: Counts
    lstm_width: Count
    feed_forward: Counts
    attention_scale: Scaling
    output: Literal["sigmoid", "relu", "linear"]
    loss: Literal["ccc", "mse", "mae"]

    @model_validator(mode="after")
    def _has_a_scale_for_each(self) -> "Design":
        if {len(self.means), len(self.deviations)} != {len(self.classes)}:
            raise ValueError("a mean and a deviation for each of the classes")
        return self

    @property
    def groups(self) -> dict[str, list[int]]:
        """The values that each network tells, by its name."""
        if self.joint:
            return {"joint": [*range(len(self.classes))]}
        return {name: [index] for index, name in enumerate(self.classes)}


class Regressor(nn.Module):
    """Frames to the values in some columns of a design: a head, then the feed-forward network.

    Of shares the output is a sigmoid by default, since a share is a fraction; the published code's
    ReLU has no gradient wherever it gives 0.
    """

    def __init__(self, design: Design, columns: Sequence[int]) -> None:
        super().__init__()
        self.design, self.columns = design, list(columns)
        attends = design.head == "cnn-lstm-attention"
        shape = design.width, design.conv, design.lstm_width
        self.head = CnnLstmAttention(*shape, design.attention_scale) if attends else CnnLstm(*shape)
        layers: list[nn.Module] = []
        for a, b in pairwise([design.lstm_width, *design.feed_forward]):
            layers += [nn.Linear(a, b), nn.ReLU(), *([nn.LayerNorm(b)] if attends else [])]
        self.feed_forward = nn.Sequential(*layers)
        self.output = nn.Linear(design.feed_forward[-1], len(self.columns))
        scale = [[of[c] for c in self.columns] for of in (design.means, design.deviations)]
        self.ratings = losses.Ratings(design.loss, *scale)

    def start_at(self, values: Tensor) -> None:
        """Set the output's bias so that training starts from ``values``, one for each column.

        An output that is linear starts from the means.
        """
        start = values.clamp(0.01, 0.99)
        starts = {"sigmoid": start.logit(), "relu": start, "linear": torch.zeros(len(values))}
        with torch.no_grad():
            self.output.bias.copy_(starts[self.design.output])

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Map (batch, frames, width) to values (batch, columns)."""
        made: Tensor = self.output(self.feed_forward(self.head(frames, lengths)))
        if self.design.output == "sigmoid":
            made = made.sigmoid()
        elif self.design.output == "relu":
            made = made.relu()
        return self.ratings.scaled(made)

    def loss(self, batch: Any) -> tuple[Tensor, int]:
        """The task's loss summed over what is known, and how much that is; of ``ccc``, the clips.

        ``batch`` is a `pipeline.methods.networks.regression.Batch`.
        """
        values = self(batch.frames, batch.lengths).float()
        loss = self.ratings(values, batch.values[:, self.columns])
        if self.design.loss == "ccc":
            return loss, len(batch.examples)
        # Counted where the values came from: asking a GPU would make the host wait.
        known = np.isfinite([[item.values[c] for c in self.columns] for item in batch.examples])
        return loss, int(known.sum())


class Regressors(Together):
    """The regressors of a design: one for each of its groups, by name."""

    def __init__(self, models: Mapping[str, Regressor]) -> None:
        super().__init__(models)
        self.design = next(iter(models.values())).design

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Map (batch, frames, width) to values (batch, classes)."""
        return torch.cat([one(frames, lengths) for one in self.models], 1)

    def logits(self, batch: Any) -> Tensor:
        """The values of a batch's clips."""
        values: Tensor = self(batch.frames, batch.lengths)
        return values
