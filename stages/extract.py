"""extract: the embeddings of a corpus; as `frames`: one layer of a fold's train and dev clips.

Reads clips and an encoder; writes one HDF5 file. With ``--fold`` the encoder is the one that
`multitask` trained on that fold, and the test clips are left out: what is clustered never meets
them.
"""

from typing import Annotated, Literal

import typer

from pipeline.corpora import manifest
from pipeline.corpora.manifest import ARTIFACTS
from pipeline.embeddings import extraction, reader
from pipeline.encoders import layout
from pipeline.encoders.layers import Layer, Layers
from pipeline.ground import stage
from pipeline.ground.launch.ahead import ahead
from pipeline.ground.params import Section, load
from pipeline.ground.provenance import Provenance
from pipeline.splits import folds

Dtype = Literal["float16", "float32"]


class ExtractParams(Section):
    """Which layers are kept, and how exactly."""

    frames: Layers
    means: Layers
    precision: reader.Precision
    dtype: Dtype


class FramesParams(Section):
    """The layer that is clustered."""

    layer: Layer
    precision: reader.Precision
    dtype: Dtype


def main(
    encoder: Annotated[str, typer.Option(help="An encoder of params.yaml.")] = "",
    corpus: Annotated[str, typer.Option(help="The corpus to embed with it.")] = "",
    fold: Annotated[int, typer.Option(help="Instead: the fold whose own encoder embeds.")] = -1,
) -> None:
    """Embed a corpus with an encoder, or a fold's train and dev clips with that fold's encoder."""
    if fold >= 0 and not (encoder or corpus):
        _embed_fold(fold)
    elif encoder and corpus and fold < 0:
        _embed_corpus(encoder, corpus)
    else:
        raise typer.BadParameter("give --encoder and --corpus, or --fold")


def _embed_corpus(encoder: str, corpus: str) -> None:
    params = load("extract", ExtractParams)
    kept = extraction.Kept(params.frames, params.means, params.precision, params.dtype)
    folder = layout.ENCODERS / encoder
    target, inputs = reader.path_of(encoder, corpus), [*manifest.folders([corpus]), folder]
    made = Provenance.of(target, ["numerics_version", "extract"], inputs)
    clips = manifest.read([corpus])
    layout.require_heard(folder, clips)
    job = extraction.Job.prepare(folder, encoder, kept)
    job.run(target, clips, made)


def _embed_fold(fold: int) -> None:
    params = load("frames", FramesParams)
    corpora, folder = load("corpora", list[str]), ARTIFACTS / "multitask" / str(fold)
    inputs = [*manifest.folders(corpora), folds.FOLDS, folder]
    target = ARTIFACTS / "frames" / f"{fold}.h5"
    made = Provenance.of(target, ["numerics_version", "corpora", "frames"], inputs)
    clips, roles = manifest.read(corpora), folds.read(fold)
    known = [clip for clip in clips if roles.get(clip.clip) in ("train", "dev")]
    kept = extraction.Kept([params.layer], [], params.precision, params.dtype)
    job = extraction.Job.prepare(folder, f"multitask/{fold}", kept)
    job.run(target, known, made)
    # Another training run makes another encoder: these shards will not serve again.
    job.discard()


if __name__ == "__main__":
    stage.run(main, ahead)
