"""retrain: masked prediction of the multi-scale units (GMP-ATL, second stage).

Reads clips, folds, the pretrained encoder and the fold's units; writes the retrained encoder.
"""

from typing import Annotated

import typer
from pydantic import Field

from pipeline.corpora import manifest
from pipeline.encoders import layout
from pipeline.ground import files
from pipeline.ground.launch.start import elsewhere
from pipeline.ground.params import load
from pipeline.ground.provenance import Provenance
from pipeline.ground.stage import run, runtime
from pipeline.splits import folds
from pipeline.splits.task import everything
from pipeline.training.settings import Training
from pipeline.work.seeds import derive


class RetrainParams(Training):
    """The ``retrain`` section."""

    mask_probability: Annotated[float, Field(gt=0, le=1)]
    mask_length: Annotated[int, Field(ge=1, le=100_000)]


def main(fold: Annotated[int, typer.Option(help="The fold, numbered from 0.")]) -> None:
    """Retrain the encoder on one fold's units."""
    from pipeline.encoders import encoder as encoders
    from pipeline.gmp.continued import train_and_publish
    from pipeline.gmp.masked_prediction import MaskedPrediction
    from pipeline.training.fit import Fit
    from pipeline.training.masking import Spans
    from pipeline.training.waves import Waves
    from pipeline.units.codebooks import Units

    params = load("retrain", RetrainParams)
    corpora, base = load("corpora", list[str]), layout.of_fold(load("pretrained", str), fold)
    folder = manifest.ARTIFACTS / "units" / str(fold)
    keys = ("seed", "numerics_version", "corpora", "pretrained", "retrain")
    target = manifest.ARTIFACTS / "retrained" / str(fold)
    layout.require_trainable(base)
    made = Provenance.of(target, keys, [*manifest.folders(corpora), folds.FOLDS, base, folder])
    found = everything(manifest.read(corpora), folds.read(fold))

    inputs = [layout.weights_sha256(base), files.sha256(folder / "units.h5")]
    seed = derive(load("seed", int), "retrain", fold)
    encoder = encoders.load(base, params.freeze_conv, runtime().gradient_checkpointing)
    fit = Fit.prepare("retrain", params, seed, inputs, Waves(encoder))
    with Units(folder / "units.h5") as units:
        spans = Spans(params.mask_probability, params.mask_length)
        model = MaskedPrediction(encoder, units.scales, units.units, spans, seed).to(fit.device)
        train_and_publish(fit, model, found, target, made)


if __name__ == "__main__":
    run(main, elsewhere)
