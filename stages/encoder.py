"""encoder: put an encoder in place: published, shipped, untrained, or a front end's settings.

The first stage of the model side: writes ``artifacts/encoders/<name>/``, which `extract` and every
training stage reads.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import Field, model_validator

from pipeline.encoders import layout
from pipeline.encoders.frontends import Frontend
from pipeline.encoders.hub import Pin, Shipped
from pipeline.ground import files
from pipeline.ground.params import Section, load
from pipeline.ground.provenance import Provenance
from pipeline.ground.stage import run

Count = Annotated[int, Field(ge=1, le=65_536)]
GROUPS = 16  # of HuBERT's positional convolution


class Tiny(Section):
    """An untrained HuBERT, for the demo and for tests."""

    kind: Literal["tiny"]
    blocks: Count
    width: Count
    heads: Count
    feed_forward: Count
    conv_width: Count

    @model_validator(mode="after")
    def _fits(self) -> "Tiny":
        if self.width % self.heads or self.width % GROUPS:
            raise ValueError(f"of a width that is a multiple of heads and of {GROUPS}")
        return self


Encoder = Annotated[Tiny | Shipped | Pin | Frontend, Field(discriminator="kind")]


def main(name: Annotated[str, typer.Option(help="An encoder of params.yaml.")]) -> None:
    """Prepare one encoder."""
    params: Tiny | Shipped | Pin | Frontend = load(f"encoder.{name}", Encoder)  # type: ignore[arg-type]
    drawn = ["seed"] if isinstance(params, Tiny) else []
    target = layout.ENCODERS / name
    made = Provenance.of(target, [f"encoder.{name}", "numerics_version", *drawn], [])
    with files.publish(target) as out:
        out.mkdir()
        if isinstance(params, Tiny):
            _write_tiny(params, load("seed", int), out)
        elif isinstance(params, Shipped):
            _write_shipped(name, params, out)
        elif isinstance(params, Pin):
            _write_pinned(name, params, out)
        else:
            files.write_json(out / layout.CONFIG, params.model_dump())
        made.write(out)


def _write_tiny(params: Tiny, seed: int, out: Path) -> None:
    from pipeline.encoders import encoder

    settings = {
        "model_type": "hubert",
        "num_hidden_layers": params.blocks,
        "hidden_size": params.width,
        "num_attention_heads": params.heads,
        "intermediate_size": params.feed_forward,
        "conv_dim": [params.conv_width] * 7,
        "feat_extract_norm": "group",
    }
    encoder.save(encoder.initialize(settings, seed), out)


def _write_shipped(name: str, shipped: Shipped, out: Path) -> None:
    from pipeline.encoders import encoder, hub

    encoder.save(hub.unpack(name, shipped), out)
    file = f"{shipped.folder}/{layout.WEIGHTS}"
    layout.Source(file=file, sha256=files.sha256(Path(file))).write(out)


def _write_pinned(name: str, pin: Pin, out: Path) -> None:
    from pipeline.encoders import encoder, hub

    encoder.save(hub.load(name, pin), out)
    source = layout.Source(pin.repository, pin.revision, pin.file, pin.sha256, hub.licence(pin))
    source.write(out)


if __name__ == "__main__":
    run(main)
