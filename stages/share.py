"""share: regressors of emotion shares on the cached embeddings of one front end.

Reads clips with their shares, one fold's roles and embeddings; writes the regressors, their
predictions on dev and test, and their learning curves.
"""

from typing import Annotated, Any, Literal

import typer
from pydantic import Field

from pipeline import files, folds, manifest, shares
from pipeline.layers import Layer
from pipeline.params import Section, load
from pipeline.provenance import Provenance
from pipeline.seeds import derive
from pipeline.stage import run

Head = Literal["cnn-lstm", "cnn-lstm-attention"]
Count = Annotated[int, Field(ge=1)]
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
        """What `pipeline.cnn_lstm.Design` takes, for one head."""
        values = self.model_dump(by_alias=True)
        return values | {"feed_forward": values["feed_forward"][head]}


class ShareParams(Section):
    """The ``share`` section."""

    features: list[str]
    heads: list[Head]
    fold: Annotated[int, Field(ge=0)]
    layer: Layer
    model: ModelParams
    training: shares.Training


def main(
    features: Annotated[str, typer.Option(help="The encoder whose embeddings are read.")],
    head: Annotated[Head, typer.Option(help="The network on the frames.")],
) -> None:
    """Train regressors of emotion shares and predict dev and test."""
    params = load("share", ShareParams)
    clips = manifest.read(load("corpora", list[str]))
    made = _provenance(features)
    rated = shares.rated(clips, folds.read(params.fold))

    from pipeline.cached import Frames
    from pipeline.cnn_lstm import Design
    from pipeline.embeddings import opened
    from pipeline.regression import Fit, save

    seed = derive(load("seed", int), "share", params.fold)
    with opened(features, clips) as corpora:
        frames = Frames(corpora, params.layer)
        design = Design(head=head, width=frames.width, **params.model.of(head))
        fit = Fit.prepare(design, params.training, seed, frames, rated)
        regressors, history = fit.run()
        scored = rated.of_role("dev", "test")
        with files.publish(manifest.ARTIFACTS / "share" / features / head) as out:
            out.mkdir()
            save(out, design, regressors, fit.reader.scale)
            shares.write_history(out, rated.emotions, history)
            made.write(out)
            shares.write(out, rated.emotions, scored, fit.predict(regressors, scored))
        fit.discard()


def _provenance(features: str) -> Provenance:
    from pipeline.embeddings import paths

    corpora = load("corpora", list[str])
    own = [f"share.{name}" for name in ("fold", "layer", "model", "training")]
    keys = ["seed", "numerics_version", "corpora", *own]
    return Provenance.of(keys, [*manifest.folders(corpora), folds.FOLDS, *paths(features, corpora)])


if __name__ == "__main__":
    run(main)
