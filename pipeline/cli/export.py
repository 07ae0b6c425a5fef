"""``ser export FOLDER OUT``: a classifier of any method as a model that needs no project.

An ensemble of ``evaluate.ensembles`` is given by its name: its folder has one for each member.
"""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from pipeline.ground.errors import PipelineError


def main(  # noqa: PLR0913, PLR0917 -- a command's options
    folder: Annotated[
        Path,
        typer.Argument(
            help="Such as artifacts/classifiers/emotion/pretrained/full/0, or an ensemble's name."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Also as model.onnx (extra `onnx`).")
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Also with weights of 8 bits (model.int8.onnx).")
    ] = False,
    pin: Annotated[
        bool, typer.Option("--pin", help="Name a published encoder instead of copying it.")
    ] = False,
    as_space: Annotated[
        bool, typer.Option("--space", help="As a Space of the hub: the page of `ser web`.")
    ] = False,
    fold: Annotated[
        int | None, typer.Option(help="Of an ensemble: whose members are taken; else the first.")
    ] = None,
) -> None:
    """Write weights, front end, preprocessing and a model card: all that prediction needs.

    `ser predict --model OUT` works from any folder and gives the logits of the stage; the card has
    a program that does, too. Adapters are merged. transformers loads encoder and head with
    `AutoModelForAudioClassification` where the head is theirs (pool, layer last or weighted,
    cross-entropy).

    With --space OUT holds a page around it, `python OUT/app.py`, for a browser here or for the hub;
    FOLDER may be an exported model then, too.
    """
    from pipeline.ground import stage
    from pipeline.inference import passport

    stage.set_threads(stage.runtime().threads if passport.is_at_home(folder) else 1)
    from pipeline.ground import files

    exported = (folder / passport.FILE).exists()
    if exported and not as_space:
        raise PipelineError(f"{folder}: an exported model already, copy it or `ser push` it")
    if pin and (onnx or int8):
        raise PipelineError("--onnx: the graph holds the encoder, run it without --pin")
    if fold is not None and folder.is_dir():
        raise PipelineError(f"--fold: of an ensemble, {folder} is of one fold, leave it out")
    if out.exists():
        raise PipelineError(f"{out}: exists, name another folder or remove it")
    with files.publish(out.absolute()) as staged:
        staged.mkdir()
        model = _page(staged) if as_space else staged
        if exported:
            _copy(folder, model)
        else:
            _write(folder, fold, model, onnx=onnx, int8=int8, pin=pin)
        if as_space:
            _around(staged, model)
    typer.echo(f"{out}: {', '.join(sorted(path.name for path in out.iterdir()))}")


def _write(folder: Path, fold: int | None, out: Path, *, onnx: bool, int8: bool, pin: bool) -> None:
    """Write the model into an existing folder, and see that it says what the classifier says."""
    from pipeline.inference import judge, packing, passport
    from pipeline.inference.exporting import ensemble, single

    chosen = ensemble.named(str(folder), fold) if not folder.is_dir() else None
    found = ensemble.judge_of(chosen) if chosen else judge.load(folder, "cpu")
    if chosen:
        ensemble.write(chosen, out, pin)
    else:
        single.write(folder, out, pin)
    if onnx or int8:
        from pipeline.inference.exporting import onnx_model

        for place in passport.models(out):
            onnx_model.write(place, int8)
            packing.seal(place)
    packing.seal(out)
    for backend in ("torch", *(["onnx"] if onnx or int8 else [])):
        judge.require_alike(found, judge.load(out, "cpu", backend), folder)


def _copy(folder: Path, out: Path) -> None:
    """An exported model, once it is found to be sound."""
    from pipeline.inference import judge

    judge.load(folder, "cpu")
    shutil.copytree(folder, out, dirs_exist_ok=True)


def _page(staged: Path) -> Path:
    """Where the model of a Space lies."""
    from pipeline.inference.page import space

    (staged / space.MODEL).mkdir()
    return staged / space.MODEL


def _around(staged: Path, model: Path) -> None:
    """The page around a model, with voices to try it on."""
    from pipeline.demo import examples
    from pipeline.inference import passport
    from pipeline.inference.page import space

    space.write(staged, passport.require(model))
    (staged / space.EXAMPLES).mkdir()
    examples.write(staged / space.EXAMPLES)
