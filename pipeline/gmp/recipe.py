"""How an encoder is pretrained: the section ``pretrain`` of params.yaml."""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from pipeline.encoders.frontends import Mfcc
from pipeline.encoders.layers import Layer
from pipeline.ground.params import Section
from pipeline.training.settings import Precision, Warmed
from pipeline.units.scales import Iterations, Sample, Scale

# HuBERT's first features: 13 cepstra with two slopes, of every second of frames 10 ms apart.
MFCC = Mfcc(
    kind="mfcc", coefficients=13, deltas=2, every=2,
    bands=40, window_ms=25.0, hop_ms=10.0, high_hz=8000.0,
)  # fmt: skip

Clustered = Literal["mfcc"] | Layer
Epochs = Annotated[int, Field(ge=1, le=100_000)]


class Round(NamedTuple):
    """What is clustered, into how many units, and how long these are then predicted."""

    frames: Clustered
    units: int
    epochs: int


class Rounds(Section):
    """Training, the same in each round."""

    batch: Annotated[int, Field(ge=1, le=1_000_000)]
    learning_rate: Annotated[float, Field(gt=0, le=100)]
    warmup: Annotated[int, Field(ge=0, le=100_000)]
    mask_probability: Annotated[float, Field(gt=0, le=1)]
    mask_length: Annotated[int, Field(ge=1, le=100_000)]
    freeze_conv: bool
    precision: Precision

    def of(self, epochs: int) -> Warmed:
        """The settings of a round of so many epochs."""
        known = {name: getattr(self, name) for name in Warmed.model_fields if name != "epochs"}
        return Warmed(epochs=epochs, **known)


class Recipe(Section):
    """The ``pretrain`` section: ``frames``, ``units`` and ``epochs`` have an entry a round."""

    start: str
    sample: Sample
    iterations: Iterations
    encoders: Annotated[list[str], Field(max_length=1)]
    corpora: list[str]
    folds: list[Annotated[int, Field(ge=0, le=9999)]]
    frames: Annotated[list[Clustered], Field(min_length=1, max_length=16)]
    units: list[Scale]
    epochs: list[Epochs]
    training: Rounds

    @model_validator(mode="after")
    def _of_one_length(self) -> "Recipe":
        if not len(self.frames) == len(self.units) == len(self.epochs):
            raise ValueError("frames, units and epochs of one length, an entry for each round")
        return self

    @property
    def rounds(self) -> list[Round]:
        """One after another."""
        return list(map(Round, self.frames, self.units, self.epochs))
