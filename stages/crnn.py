"""crnn: a convolutional-recurrent classifier of emotions on cached frames, for one fold.

Trained from nothing on the frames of a front end such as ``fbank``. Writes what `finetune` writes:
the classifier, its predictions on dev and test, and its learning curve.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field

from pipeline.encoders.layers import Layer
from pipeline.ground.launch.ahead import ahead
from pipeline.ground.params import Section, load
from pipeline.ground.stage import run
from pipeline.methods import preprocessing
from pipeline.methods.features import Features
from pipeline.methods.finetuning import Imbalance, Job
from pipeline.methods.networks.specaugment import Augmentation
from pipeline.splits import targets
from pipeline.splits.task import digest, of_role
from pipeline.training.settings import Annealed, Sampled
from pipeline.work.seeds import derive


class ModelParams(Section):
    """``crnn.model``."""

    channels: Annotated[list[Annotated[int, Field(ge=1, le=65_536)]], Field(min_length=1)]
    gru_width: Annotated[int, Field(ge=1, le=65_536)]
    dropout: Annotated[float, Field(ge=0, lt=1)]


class CrnnTraining(Annealed, Sampled):
    """``crnn.training``."""


class CrnnParams(Section):
    """The ``crnn`` section."""

    tasks: list[str]
    features: list[str]
    layer: Layer
    model: ModelParams
    augmentation: Augmentation
    loss: Imbalance
    training: CrnnTraining


def main(
    task: Annotated[str, typer.Option(help="What is predicted: a name of `task`.")],
    features: Annotated[str, typer.Option(help="The encoder whose frames are read.")],
    fold: Annotated[int, typer.Option(help="The fold, numbered from 0.")],
) -> None:
    """Train a convolutional-recurrent classifier on cached frames and predict dev and test."""
    import numpy as np

    from pipeline.embeddings.frames import Frames, Scale, require_frames
    from pipeline.embeddings.reader import opened, paths
    from pipeline.methods import adaptation
    from pipeline.methods.networks import crnn
    from pipeline.methods.networks.spectrograms import Spectrograms
    from pipeline.training.fit import Fit

    targets.require_fitting("crnn.tasks", task)
    params = load("crnn", CrnnParams)
    own = [f"crnn.{name}" for name in ("layer", "model", "augmentation", "loss", "training")]
    read = paths(features, load("corpora", list[str]))
    job = Job.prepare(task, features, "crnn", fold, own, read)
    unweighted = params.loss.model_copy(update={"class_weight": "none"})  # as votes are
    job.require_classes("crnn", unweighted, params.training)
    seed, train = derive(load("seed", int), "crnn", fold), of_role(job.found, "train")
    with opened(features, job.clips) as corpora:
        require_frames("crnn.features", corpora)
        frames = Frames(corpora, params.layer)
        scale, found = Scale.of(frames, train, True), job.class_weights(params.loss)
        weights = np.ones(len(job.task.names)) if found is None else found
        source = Spectrograms(frames, scale, weights, train, params.augmentation, seed)
        design = crnn.Design(
            classes=job.task.names, bands=frames.width, **params.model.model_dump()
        )
        own_params = (design, params.augmentation, params.loss)
        settings = [*(section.model_dump() for section in own_params), params.layer]
        inputs = [settings, digest(job.found), [asdict(header) for header in frames.headers]]
        fit = Fit.prepare("crnn", params.training, seed, inputs, source, job.found)
        model = crnn.Crnn(design, params.loss.gamma).to(fit.device)

        def save(out: Path) -> None:
            crnn.save(model, scale, out)
            Features.of(corpora[0].header, [params.layer], job.task).write(out)
            preprocessing.carry(out, job.made)

        adaptation.run(job, fit, model, save)


if __name__ == "__main__":
    run(main, ahead)
