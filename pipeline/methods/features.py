"""What a classifier that was trained on cached embeddings needs of them: ``features.json``.

`finetune_cached` writes it beside the model; `pipeline.inference.judge` computes the same of any
audio.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from pipeline.embeddings.reader import Header
from pipeline.encoders import layout
from pipeline.encoders.layers import Layer
from pipeline.ground import files
from pipeline.training.settings import Precision

FILE = "features.json"


@dataclass(frozen=True)
class Features:
    """The encoder, and what is taken of it; with ``deviation`` also that over the frames."""

    encoder: str
    weights_sha256: str
    layers: list[Layer]
    deviation: bool
    precision: Precision
    dtype: str
    classes: list[str]

    @classmethod
    def of(
        cls,
        header: Header,
        layers: Sequence[Layer],
        classes: Sequence[str],
        deviation: bool = False,
    ) -> "Features":
        """The part of ``header`` that a model on these layers needs."""
        return cls(
            str(layout.ENCODERS / header.encoder),
            header.weights_sha256,
            list(layers),
            deviation,
            "bf16" if header.precision == "bf16" else "fp32",
            header.dtype,
            list(classes),
        )

    @classmethod
    def read(cls, folder: Path) -> "Features":
        """What `write` wrote into ``folder``."""
        return TypeAdapter(cls).validate_python(files.read_json(folder / FILE))

    def write(self, folder: Path) -> None:
        """Write ``features.json`` into an existing folder."""
        files.write_json(folder / FILE, vars(self))
