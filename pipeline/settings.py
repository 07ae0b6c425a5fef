"""Parameter sections that several stages share; free of heavy imports."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.params import Section

Precision = Literal["fp32", "bf16"]


class Training(Section):
    """What every training stage sets; Adam without weight decay, as the papers have it."""

    epochs: Annotated[int, Field(ge=0)]
    batch: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    patience: Annotated[int, Field(ge=0)]
    freeze_conv: bool
    precision: Precision
