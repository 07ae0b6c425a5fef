"""multitask: train the encoder on emotion and gender (GMP-ATL, first stage).

Reads clips, folds and the pretrained encoder; writes the trained encoder and its learning curve.
"""

from typing import Annotated

import typer
from pydantic import Field

from pipeline.corpora import manifest
from pipeline.encoders import layout
from pipeline.ground.launch.start import elsewhere
from pipeline.ground.params import load
from pipeline.ground.provenance import Provenance
from pipeline.ground.stage import run, runtime
from pipeline.splits import folds, targets
from pipeline.splits.targets import Emotion
from pipeline.splits.task import digest, examples, scale
from pipeline.training.settings import Training
from pipeline.work.seeds import derive


class MultitaskParams(Training):
    """The ``multitask`` section."""

    task: str
    emotion_weight: Annotated[float, Field(ge=0, le=1)]
    lstm_width: Annotated[int, Field(ge=1, le=65_536)]


def main(fold: Annotated[int, typer.Option(help="The fold, numbered from 0.")]) -> None:
    """Train the encoder on emotion and gender with one fold's training speakers."""
    from pipeline.encoders import encoder as encoders
    from pipeline.gmp.continued import train_and_publish
    from pipeline.gmp.multitask import Multitask
    from pipeline.training.fit import Fit
    from pipeline.training.losses import Ratings
    from pipeline.training.waves import Waves

    params = load("multitask", MultitaskParams)
    key, task = f"task.{params.task}", targets.of(params.task)
    corpora, base = load("corpora", list[str]), layout.of_fold(load("pretrained", str), fold)
    keys = ("seed", "numerics_version", "corpora", "pretrained", key, "multitask")
    target = manifest.ARTIFACTS / "multitask" / str(fold)
    layout.require_trainable(base)
    made = Provenance.of(target, keys, [*manifest.folders(corpora), folds.FOLDS, base])
    found = examples(task, manifest.read(corpora), folds.read(fold), key)

    inputs = [digest(found), layout.weights_sha256(base)]
    seed = derive(load("seed", int), "multitask", fold)
    encoder = encoders.load(base, params.freeze_conv, runtime().gradient_checkpointing)
    fit = Fit.prepare("multitask", params, seed, inputs, Waves(encoder))
    own = None if isinstance(task, Emotion) else Ratings(task.loss, *scale(task, found))
    outputs = len(task.names)
    model = Multitask(encoder, outputs, params.lstm_width, params.emotion_weight, own)
    model.to(fit.device)
    train_and_publish(fit, model, found, target, made)


if __name__ == "__main__":
    run(main, elsewhere)
