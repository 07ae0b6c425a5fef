"""``ser push MODEL OWNER/NAME``: an exported model, uploaded to the hub."""

from pathlib import Path
from typing import Annotated

import typer


def main(
    model: Annotated[Path, typer.Argument(help="What `ser export` wrote.")],
    repository: Annotated[str, typer.Argument(help="OWNER/NAME on the hub.")],
    private: Annotated[bool, typer.Option("--private", help="For its owner alone.")] = False,
) -> None:
    """Upload an exported model, and print how it is named from then on.

    It is loaded and tried first. `hf auth login` or HF_TOKEN says who uploads. Corpora and
    encoders have licences of their own: the card names them.
    """
    from pipeline.ground import stage

    stage.set_threads(1)
    from pipeline.inference import judge, passport, remote

    passport.require(model)
    judge.load(model, "cpu")
    commit = remote.push(model, repository, private)
    typer.echo(f"{remote.PREFIX}{repository}@{commit}")
