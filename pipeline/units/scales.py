"""How many units there are, at each scale: what sections of params.yaml say."""

from typing import Annotated

from pydantic import AfterValidator, Field

Scale = Annotated[int, Field(ge=2, le=1_000_000)]
Sample = Annotated[int, Field(ge=1, le=1_000_000_000)]
Iterations = Annotated[int, Field(ge=1, le=1000)]


def _ascend(scales: list[int]) -> list[int]:
    if scales != sorted(set(scales)):
        raise ValueError("ascending, each scale once")
    return scales


Scales = Annotated[list[Scale], Field(min_length=1), AfterValidator(_ascend)]
