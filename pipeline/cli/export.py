"""``ser export FOLDER OUT``: a classifier as a model of the hub, with its card, and as ONNX."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.ground.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.audio.segments import Cutting
    from pipeline.inference.card import Data
    from pipeline.methods.emotion_head import Design


def main(
    folder: Annotated[
        Path, typer.Argument(help="Such as artifacts/classifiers/emotion/pretrained/full/0.")
    ],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Also as model.onnx (extra `onnx`).")
    ] = False,
) -> None:
    """Write encoder and head as one model, adapters merged, with a model card.

    The card has a program that classifies with libraries alone, and `ser predict` takes the folder
    too. transformers loads it with `AutoModelForAudioClassification` where the head is theirs
    (pool, layer last or weighted, cross-entropy).
    """
    from pipeline.ground import stage

    stage.set_threads(stage.runtime().threads)
    from pipeline.ground import files
    from pipeline.inference import judge
    from pipeline.methods import calibration, classifier, lora, preprocessing
    from pipeline.methods.emotion_head import DESIGN, Design

    if not (folder / DESIGN).is_file():
        raise PipelineError(
            f"{folder}: no {DESIGN}, expected a classifier with an encoder, such as "
            "artifacts/classifiers/emotion/pretrained/full/0 (linear is scikit-learn's, and has "
            "none)"
        )
    if out.exists():
        raise PipelineError(f"{out}: exists, name another folder or remove it")
    _require_encoder(folder, Design.read(folder))
    model = classifier.load(folder)
    judge.require_sound(folder, judge.of(model))
    lora.merge(model)
    with files.publish(out.absolute()) as staged:
        staged.mkdir()
        classifier.write_whole(model, staged)
        # Adapters are merged: what `ser predict` reads is a whole model.
        model.design.model_copy(update={"method": "full", "lora": None}).write(staged)
        cutting = preprocessing.read(folder)
        if cutting:
            preprocessing.write(staged, cutting)
        scale = calibration.read(folder)
        if scale:
            files.write_json(staged / calibration.FILE, scale.model_dump())
        card = _card(folder, model.design, cutting, scale.temperature if scale else None)
        (staged / "README.md").write_text(card, "utf-8")
        if onnx:
            from pipeline.inference import onnx_model

            onnx_model.write(model, staged / "model.onnx")
    typer.echo(f"{out}: {', '.join(sorted(path.name for path in out.iterdir()))}")


def _require_encoder(folder: Path, design: "Design") -> None:
    from pipeline.encoders import layout
    from pipeline.ground import files

    if design.method == "full":
        return
    config = files.read_json(Path(design.encoder) / layout.CONFIG)
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind in (None, layout.FEATURES_ALONE):
        raise PipelineError(
            f"{folder}: its encoder {design.encoder} is {kind or 'a front end'}, which gives "
            "features alone, export a classifier on another encoder"
        )


def _card(
    folder: Path, design: "Design", cutting: "Cutting | None", temperature: float | None
) -> str:
    from pipeline.inference import card

    system, fold = _origin(folder, design)
    name = "/".join(filter(None, [*system, fold]))
    measured = _measured(folder, system, name)
    return card.text(design, cutting, name, _data(folder, fold), measured, temperature)


def _origin(folder: Path, design: "Design") -> tuple[tuple[str, str, str], str]:
    """Task, start, method and fold as the stage named its output: the folder may have been copied.

    Where it names none, that of the encoder and the method, and no task and fold.
    """
    from pipeline.ground import provenance

    made = provenance.carried(folder)
    match made.name.split("/") if made else []:
        case ["classifiers", task, start, method, fold]:
            return (task, start, method), fold
    return ("", Path(design.encoder).name, design.method), ""


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
