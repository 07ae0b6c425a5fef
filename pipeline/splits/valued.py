"""What raters say of an utterance, and the targets that are values of it: dimensions and shares.

The targets that are classes, and the tasks that have either, are in `pipeline.splits.targets`.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Literal, Protocol, Self, TypeAlias

from pydantic import Field, model_validator

from pipeline.ground.params import Section

Values: TypeAlias = tuple[float, ...]
Aim: TypeAlias = tuple[int, Values]
UNDECIDED = -1  # the index of a class where there is none


class Rated(Protocol):
    """What is said of an utterance: a `Clip`, or the `Row` of a parser."""

    @property
    def emotion(self) -> str:
        """Empty where there is none."""

    @property
    def votes(self) -> Mapping[str, float]:
        """Raters who chose each emotion."""

    @property
    def votes2(self) -> Mapping[str, float]:
        """Raters who named each emotion a second one."""

    @property
    def dimensions(self) -> Mapping[str, float]:
        """Mean ratings."""

    @property
    def shares(self) -> Mapping[str, float]:
        """The fraction of listeners who hear each emotion."""


class Valued(Section):
    """A number for each of ``names``, and no class; ``loss`` compares it with what raters said."""

    loss: Literal["ccc", "mse", "mae"]

    @property
    def names(self) -> list[str]:
        """Of the model's outputs."""
        raise NotImplementedError

    @property
    def merge(self) -> dict[str, str]:
        """Nothing is merged."""
        return {}

    @model_validator(mode="after")
    def _are_distinct(self) -> Self:
        if len(set(self.names)) < len(self.names) or not all(self.names):
            raise ValueError("of names that differ, none of them empty")
        return self

    def index(self, name: str) -> int | None:
        """Which output a name is; None where it is none."""
        return self.names.index(name) if name in self.names else None


class Dimensions(Valued):
    """Mean ratings such as arousal and valence, in their corpus's own range."""

    target: Literal["dimensions"]
    dimensions: Annotated[list[str], Field(min_length=1)]

    @property
    def names(self) -> list[str]:
        """Of the model's outputs."""
        return self.dimensions

    def held(self, rated: Rated) -> list[str]:
        """As of `Emotion`."""
        return list(rated.dimensions)

    def aim(self, rated: Rated) -> Aim | None:
        """The ratings; None where one is missing."""
        found = [rated.dimensions.get(name) for name in self.dimensions]
        known = tuple(value for value in found if value is not None)
        return (UNDECIDED, known) if len(known) == len(found) else None

    def why_not(self, rated: Rated) -> str:
        """As of `Emotion`."""
        missing = [name for name in self.dimensions if name not in rated.dimensions]
        return f"without {missing[0]}"


class Shares(Valued):
    """The fraction of listeners who hear each emotion, from 0 to 1 and NaN where it is unknown."""

    target: Literal["shares"]
    emotions: Annotated[list[str], Field(min_length=1)]

    @property
    def names(self) -> list[str]:
        """Of the model's outputs."""
        return self.emotions

    def held(self, rated: Rated) -> list[str]:
        """As of `Emotion`."""
        return list(rated.shares)

    def aim(self, rated: Rated) -> Aim | None:
        """The shares; None where all are unknown."""
        found = tuple(rated.shares.get(name, math.nan) for name in self.emotions)
        return None if all(map(math.isnan, found)) else (UNDECIDED, found)

    def why_not(self, rated: Rated) -> str:
        """As of `Emotion`."""
        return "without shares"

    @property
    def masked(self) -> Aim:
        """That of a test utterance whose shares are kept secret, as a challenge does."""
        return UNDECIDED, (math.nan,) * len(self.emotions)
