"""Parameter sections that several stages share; free of heavy imports."""

import math
from typing import Annotated, Literal

from pydantic import Field

from pipeline.params import Section

Precision = Literal["fp32", "bf16"]


class Optimization(Section):
    """What the training loop reads; Adam without weight decay, as the papers have it."""

    epochs: Annotated[int, Field(ge=0)]
    batch: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    patience: Annotated[int, Field(ge=0)]
    precision: Precision

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, numbered from 1: always the same."""
        return self.learning_rate


class Annealed(Optimization):
    """Optimization with a learning rate that falls to zero along half a cosine."""

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, numbered from 1."""
        return self.learning_rate * (1 + math.cos(math.pi * (epoch - 1) / self.epochs)) / 2


class Training(Optimization):
    """Optimization of a stage that trains an encoder."""

    freeze_conv: bool
