"""share: regressors of emotion shares on the cached embeddings of one front end.

Reads clips with their shares, one fold's roles and embeddings; writes the regressors, their
predictions on dev and test, and their learning curves.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import Field

from pipeline.corpora import manifest
from pipeline.encoders.layers import Layer
from pipeline.ground import files
from pipeline.ground.launch.start import elsewhere
from pipeline.ground.params import Section, load
from pipeline.ground.provenance import Provenance
from pipeline.ground.stage import run
from pipeline.splits import folds, shares
from pipeline.training import predictions
from pipeline.training.settings import Optimization
from pipeline.work.seeds import derive

Head = Literal["cnn-lstm", "cnn-lstm-attention"]
Count = Annotated[int, Field(ge=1, le=65_536)]
Counts = Annotated[list[Count], Field(min_length=1)]


class FeedForwardParams(Section):
    """``share.model.feed_forward``: widths between head and output, by head."""

    cnn_lstm: Annotated[Counts, Field(alias="cnn-lstm")]
    cnn_lstm_attention: Annotated[Counts, Field(alias="cnn-lstm-attention")]


class ModelParams(Section):
    """``share.model``: widths, and where the paper and its code leave a choice."""

    conv: Counts
    lstm_width: Count
    feed_forward: FeedForwardParams
    attention_scale: Literal["sqrt", "width"]
    output: Literal["sigmoid", "relu"]

    def of(self, head: Head) -> dict[str, Any]:
        """What `pipeline.methods.networks.cnn_lstm.Design` takes, for one head."""
        values = self.model_dump(by_alias=True)
        return values | {"feed_forward": values["feed_forward"][head]}


class TrainingParams(Optimization):
    """``share.training``.

    ``regressors`` is separate for one network per emotion, as in the paper, or joint for one with
    an output per emotion.
    """

    regressors: Literal["separate", "joint"]
    standardize: bool


class ShareParams(Section):
    """The ``share`` section."""

    features: list[str]
    heads: list[Head]
    fold: Annotated[int, Field(ge=0, le=9999)]
    layer: Layer
    model: ModelParams
    training: TrainingParams


def main(
    features: Annotated[str, typer.Option(help="The encoder whose embeddings are read.")],
    head: Annotated[Head, typer.Option(help="The network on the frames.")],
) -> None:
    """Train regressors of emotion shares and predict dev and test."""
    params = load("share", ShareParams)
    target = manifest.ARTIFACTS / "share" / features / head
    made = _provenance(target, features)
    clips = manifest.read(load("corpora", list[str]))
    rated = shares.rated(clips, folds.read(params.fold))

    from pipeline.embeddings.frames import Frames, Scale
    from pipeline.embeddings.reader import opened
    from pipeline.methods.networks import regression
    from pipeline.methods.networks.cnn_lstm import Design
    from pipeline.training import loop
    from pipeline.training.fit import Fit

    seed = derive(load("seed", int), "share", params.fold)
    settings, train, dev = params.training, rated.of_role("train"), rated.of_role("dev")
    with opened(features, clips) as corpora:
        frames = Frames(corpora, params.layer)
        design = Design(head=head, width=frames.width, **params.model.of(head))
        scale = Scale.of(frames, train, settings.standardize)
        headers = [asdict(header) for header in frames.headers]
        inputs = [design.model_dump(), params.layer, rated.digest(), headers]
        source = regression.ScaledFrames(frames, scale)
        fit = Fit.prepare("share", settings, seed, inputs, source, rated.samples)
        joint = settings.regressors == "joint"
        model = regression.untrained(design, rated, joint, seed).to(fit.device)
        history = loop.train(fit, model, train, dev, target=target)
        if not fit.processes.main:
            return
        scored = rated.of_role("dev", "test")
        with files.publish(target) as out:
            out.mkdir()
            regression.save(out, design, model.named, scale)
            losses = [f"{role}_loss_{name}" for name in model.named for role in ("train", "dev")]
            predictions.write_history(out, history, ["epoch", *losses])
            made.write(out)
            shares.write(out, rated.emotions, scored, regression.predict(fit, model, scored))
        fit.discard()


def _provenance(target: Path, features: str) -> Provenance:
    from pipeline.embeddings.reader import paths

    corpora = load("corpora", list[str])
    own = [f"share.{name}" for name in ("fold", "layer", "model", "training")]
    keys = ["seed", "numerics_version", "corpora", *own]
    inputs = [*manifest.folders(corpora), folds.FOLDS, *paths(features, corpora)]
    return Provenance.of(target, keys, inputs)


if __name__ == "__main__":
    run(main, elsewhere)
