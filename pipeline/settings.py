"""Parameter sections that several stages share; free of heavy imports."""

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


class Training(Optimization):
    """The same for a stage that trains an encoder."""

    freeze_conv: bool
