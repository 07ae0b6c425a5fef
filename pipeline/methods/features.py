"""What a classifier that was trained on cached embeddings needs of them: ``features.json``.

`finetune_cached` writes it beside the model; `pipeline.inference.judge` computes the same of any
audio.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import Field

from pipeline.embeddings.reader import Header, Precision
from pipeline.encoders import layout
from pipeline.encoders.layers import Layer
from pipeline.ground import files
from pipeline.ground.params import parse
from pipeline.methods.finetuning import SCHEMA, Classes, Target
from pipeline.splits.targets import Task, kind

FILE = "features.json"


@dataclass(frozen=True)
class Features:
    """The encoder, and what is taken of it; with ``deviation`` also that over the frames.

    ``classes`` names the outputs: of the target dimensions, these.
    """

    encoder: str
    weights_sha256: str
    layers: Annotated[list[Layer], Field(min_length=1, max_length=256)]
    deviation: bool
    precision: Precision
    dtype: Literal["float16", "float32"]
    target: Target
    classes: Classes
    version: SCHEMA = 3

    @classmethod
    def of(
        cls,
        header: Header,
        layers: Sequence[Layer],
        task: Task,
        deviation: bool = False,
    ) -> "Features":
        """The part of ``header`` that a model on these layers needs."""
        return cls(
            str(layout.ENCODERS / header.encoder),
            header.weights_sha256,
            list(layers),
            deviation,
            cast(Precision, header.precision),
            "float16" if header.dtype == "float16" else "float32",
            kind(task.target),
            list(task.names),
        )

    @classmethod
    def read(cls, folder: Path) -> "Features":
        """What `write` wrote into ``folder``."""
        return parse(folder / FILE, cls)

    def write(self, folder: Path) -> None:
        """Write ``features.json`` into an existing folder."""
        files.write_json(folder / FILE, vars(self))
