"""``ser encoder pin NAME``: ask the hub for the commit and checksum that params.yaml lacks.

The only sub-command that goes online. What is already pinned is not touched, and a pin is a
decision: look at the repository before you keep what it writes.
"""

import re
from typing import Annotated, Literal

import typer

from pipeline.encoders.hub import Pin, describe
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import PARAMS_FILE, load


def main(
    action: Annotated[Literal["pin"], typer.Argument(help="What to do.")],
    name: Annotated[str, typer.Argument(help="An encoder of params.yaml whose kind is hub.")],
) -> None:
    """Fill in a published encoder's missing revision and checksum in params.yaml."""
    pin = load(f"encoder.{name}", Pin)
    if pin.revision and pin.sha256:
        typer.echo(f"encoder.{name} is pinned, nothing to do")
        return
    revision, sha256 = describe(name, pin)
    text = PARAMS_FILE.read_text("utf-8")
    files.write_text(PARAMS_FILE, filled(text, name, {"revision": revision, "sha256": sha256}))
    typer.echo(f"encoder.{name}: {pin.repository} at {revision}, {pin.file} sha256 {sha256}")


def filled(text: str, name: str, values: dict[str, str]) -> str:
    """Set keys of one encoder in the text of params.yaml; everything else stays as it is.

    Raises:
        PipelineError: The encoder is not written in block style, one key a line.
    """
    section = re.search(rf"^encoder:.*\n(?:(?:[ #].*)?\n)*?  {re.escape(name)}:.*\n", text, re.M)
    for key, value in values.items():
        line = re.compile(rf"((?:    .*\n)*?    {key}:) *(?:\"\"|''|[0-9a-f]+)?( *(?:#.*)?\n)")
        found = line.match(text, section.end()) if section else None
        if found is None:
            raise PipelineError(
                f"{PARAMS_FILE}: no line {key!r} under encoder.{name}, set it by hand: {value}"
            )
        text = f"{text[: found.end(1)]} {value}{found[2]}{text[found.end() :]}"
    return text
