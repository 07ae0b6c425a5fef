"""``ser export FOLDER OUT``: a classifier of any method as a model that needs no project."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.ground.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.inference.card import Data
    from pipeline.inference.packing import Origin


def main(
    folder: Annotated[
        Path, typer.Argument(help="Such as artifacts/classifiers/emotion/pretrained/full/0.")
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
    if out.exists():
        raise PipelineError(f"{out}: exists, name another folder or remove it")
    with files.publish(out.absolute()) as staged:
        staged.mkdir()
        model = _page(staged) if as_space else staged
        if exported:
            _copy(folder, model)
        else:
            _write(folder, model, onnx=onnx, int8=int8, pin=pin)
        if as_space:
            _around(staged, model)
    typer.echo(f"{out}: {', '.join(sorted(path.name for path in out.iterdir()))}")


def _write(folder: Path, out: Path, *, onnx: bool, int8: bool, pin: bool) -> None:
    """Write the model into an existing folder, and see that it says what the classifier says."""
    from pipeline.inference import card, judge, packing, passport

    found = judge.load(folder, "cpu")
    origin = packing.Origin.of(folder)
    system, fold = _origin(folder, origin)
    name = "/".join(filter(None, [*system, fold]))
    data = _data(folder, fold)
    shown = packing.write(folder, out, origin, pin)
    told = passport.Passport(
        format=1,
        name=name,
        method=origin.method,
        target=origin.target,
        classes=origin.classes,
        encoder=origin.pinned(),
        corpora=card.learnt(data) if data else None,
    )
    told.write(out)
    text = card.text(told, shown, data, _measured(folder, system, name))
    (out / passport.CARD).write_text(text, "utf-8")
    if onnx or int8:
        from pipeline.inference import onnx_model

        onnx_model.write(out, int8)
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


def _origin(folder: Path, origin: "Origin") -> tuple[tuple[str, str, str], str]:
    """Task, start, method and fold as the stage named its output: the folder may have been copied.

    Where it names none, that of the encoder and the method, and no task and fold.
    """
    from pipeline.ground import provenance

    made = provenance.carried(folder)
    match made.name.split("/") if made else []:
        case ["classifiers", task, start, method, fold]:
            return (task, start, method), fold
    return ("", origin.encoder.name, origin.method), ""


def _data(folder: Path, fold: str) -> "Data | None":
    """What the classifier learnt from; None, and a line on stderr, where that is not here."""
    from pipeline.corpora import manifest
    from pipeline.ground.params import load
    from pipeline.inference import lineage
    from pipeline.inference.card import Data
    from pipeline.splits import folds

    try:
        if others := lineage.strangers(folder):
            raise PipelineError(f"{others[0]}: not what {folder} learnt from, run `dvc repro`")
        corpora = lineage.corpora(folder) or load("corpora", list[str])
        parsers = {name: load(f"corpus.{name}.parser", str) for name in corpora}
        roles = folds.read(int(fold)) if fold.isdigit() else {}
        return Data(manifest.read(corpora), roles, parsers)
    except PipelineError as error:
        typer.echo(f"{error}; the card says nothing of data and scores", err=True)
        return None


def _measured(folder: Path, system: tuple[str, str, str], name: str) -> tuple[Any, Any] | None:
    from pipeline.ground import files
    from pipeline.inference import lineage

    path = Path("results/scores.json")
    if not (path.is_file() and lineage.is_scored(folder, name, path.parent)):
        return None
    everything = files.read_json(path)
    found = everything
    for key in system:
        found = found.get(key, {})
    return (everything["protocol"], found) if found else None
