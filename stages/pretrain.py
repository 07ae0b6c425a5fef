"""pretrain: an encoder learns from unlabelled speech, as HuBERT did (Hsu et al. 2021).

Either of whole corpora that are never scored, as ``artifacts/encoders/<name>``; or, with a fold, of
that fold's training clips alone, as ``artifacts/encoders/own/<fold>``. What it makes is an encoder
like any other.
"""

from typing import Annotated

import typer

from pipeline.corpora import manifest
from pipeline.encoders import layout
from pipeline.gmp.recipe import Recipe
from pipeline.ground.errors import PipelineError
from pipeline.ground.launch.start import elsewhere
from pipeline.ground.params import load
from pipeline.ground.provenance import Provenance
from pipeline.ground.stage import run
from pipeline.splits import folds
from pipeline.splits.unscored import require_unscored
from pipeline.work.seeds import derive

RECIPE = ("start", "sample", "iterations", "frames", "units", "epochs", "training")
KEYS = ("seed", "numerics_version", *(f"pretrain.{name}" for name in RECIPE))


def main(
    name: Annotated[str, typer.Option(help="What the encoder is called (pretrain.encoders).")] = "",
    fold: Annotated[
        int, typer.Option(help="Instead: the fold whose training clips it takes.")
    ] = -1,
) -> None:
    """Pretrain an encoder on whole corpora, or on one fold's training clips."""
    if bool(name) == (fold >= 0):
        raise typer.BadParameter("give --name or --fold")
    recipe = load("pretrain", Recipe)
    base = layout.ENCODERS / recipe.start
    if name:
        corpora, key = recipe.corpora, "pretrain.corpora"
        require_unscored(corpora)
        clips, target = manifest.read(corpora, manifest.UNLABELLED), layout.ENCODERS / name
        inputs = [*manifest.folders(corpora, manifest.UNLABELLED), base]
    else:
        corpora, key, roles = load("corpora", list[str]), "corpora", folds.read(fold)
        clips = [one for one in manifest.read(corpora) if roles.get(one.clip) == "train"]
        target = layout.of_fold(layout.OWN, fold)
        inputs = [*manifest.folders(corpora), folds.FOLDS, base]
    if not clips:
        raise PipelineError(f"params.yaml: {key} has no clip to pretrain on, add a corpus")
    layout.require_trainable(base)
    made = Provenance.of(target, [*KEYS, key], inputs)

    from pipeline.gmp.pretraining import Pretraining

    seed = derive(load("seed", int), "pretrain", name or fold)
    Pretraining(recipe, clips, base, seed, made).run(target)


if __name__ == "__main__":
    run(main, elsewhere)
