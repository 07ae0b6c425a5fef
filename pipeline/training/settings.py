"""Parameter sections that several stages share; free of heavy imports."""

import math
from typing import Annotated, Literal

from pydantic import Field

from pipeline.ground.params import Section

Precision = Literal["fp32", "bf16"]


class Schedule(Section):
    """What the training loop reads; Adam without weight decay, as the papers have it."""

    epochs: Annotated[int, Field(ge=0, le=100_000)]
    batch: Annotated[int, Field(ge=1, le=1_000_000)]
    learning_rate: Annotated[float, Field(gt=0, le=100)]
    precision: Precision

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, numbered from 1: always the same."""
        return self.learning_rate


class Sampled(Section):
    """What is drawn in an epoch: every clip once, or as many, every class as often as any other."""

    sampling: Literal["shuffled", "balanced"]


class Optimization(Schedule):
    """A constant learning rate; dev chooses the epoch, and stops ``patience`` epochs after it."""

    patience: Annotated[int, Field(ge=0, le=100_000)]


class Annealed(Schedule):
    """A learning rate that falls to zero along half a cosine; the last epoch is kept.

    It is the one that the schedule leads to, and dev (often one speaker) chooses by chance.
    """

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, numbered from 1."""
        return self.learning_rate * (1 + math.cos(math.pi * (epoch - 1) / self.epochs)) / 2


class Warmed(Schedule):
    """A learning rate that rises over the first epochs and then falls to zero, on straight lines.

    As HuBERT's, whose steps are epochs here. The first epochs' rates do not depend on how many
    follow.
    """

    warmup: Annotated[int, Field(ge=0, le=100_000)]

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, numbered from 1."""
        if epoch <= self.warmup:
            return self.learning_rate * epoch / (self.warmup + 1)
        return self.learning_rate * (1 + self.epochs - epoch) / max(1, self.epochs - self.warmup)


class Training(Optimization):
    """Optimization of a stage that trains an encoder."""

    freeze_conv: bool
