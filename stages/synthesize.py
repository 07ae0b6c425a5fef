"""Make the embedded demo corpus: ``data/raw/demo``, speech-like and synthetic.

The first stage of the demo; no other corpus needs it.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from pipeline.ground.files import publish
from pipeline.ground.params import Section, load
from pipeline.ground.stage import run

TARGET = Path("data/raw/demo")


class SynthesizeParams(Section):
    """How much there is; two speakers, a woman and a man, make a session."""

    speakers: Annotated[int, Field(ge=2, le=100, multiple_of=2)]
    takes: Annotated[int, Field(ge=1, le=100)]
    listeners: Annotated[int, Field(ge=1, le=10_000)]


def main() -> None:
    """Write the demo corpus: recordings, labels with emotion shares, and phones."""
    from pipeline.demo.synthesis import write

    params = load("synthesize", SynthesizeParams)
    seed = load("seed", int)
    with publish(TARGET) as staged:
        write(staged, seed, params.speakers, params.takes, params.listeners)


if __name__ == "__main__":
    run(main)
