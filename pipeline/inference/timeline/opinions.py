"""What was heard: a stretch of a recording, and what is told of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

UNSURE = "unsure"


@dataclass(frozen=True)
class Opinion:
    """Where it begins and ends in the recording, in seconds, and each class's probability.

    Of the target dimensions there are values in the place of probabilities, and no label.
    ``speaker`` is who speaks, where that is known; with less confidence than ``least`` it is
    unsure.
    """

    start_s: float
    end_s: float
    probabilities: Mapping[str, float]
    values: Mapping[str, float] = field(default_factory=dict)
    speaker: str = ""
    least: float = 0.0

    @property
    def label(self) -> str:
        """The most probable class, or `UNSURE`."""
        name = max(self.probabilities, key=self.probabilities.__getitem__)
        return name if self.probabilities[name] >= self.least else UNSURE

    @property
    def told(self) -> Mapping[str, float]:
        """The probabilities, or the values."""
        return self.probabilities or self.values

    @property
    def text(self) -> str:
        """In a few words: the label, or the values."""
        if self.probabilities:
            return self.label
        return " ".join(f"{name} {value:.2f}" for name, value in self.values.items())


@dataclass(frozen=True)
class Heard:
    """A file's emotion as a whole, and that of its parts: clips, windows or turns."""

    file: Path
    whole: Opinion
    clips: list[Opinion]
    duration_s: float
