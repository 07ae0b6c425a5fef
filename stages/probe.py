"""probe: what each layer of one encoder tells of emotion, from the means of cached embeddings.

Beside the classifiers, for the eye: nothing is trained on what it finds. Writes the UAR by layer
and fold, and the clips in two dimensions; `evaluate` draws both.
"""

from typing import Annotated

import typer
from pydantic import Field

from pipeline.corpora import manifest
from pipeline.corpora.manifest import ARTIFACTS
from pipeline.encoders.layers import Layer
from pipeline.ground import files
from pipeline.ground.params import Section, load
from pipeline.ground.provenance import Provenance
from pipeline.ground.stage import run
from pipeline.splits import folds


class ProbeParams(Section):
    """The ``probe`` section."""

    tasks: list[str]
    features: list[str]
    c: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    layer: Layer
    points: Annotated[int, Field(ge=10, le=1_000_000)]


def main(
    task: Annotated[str, typer.Option(help="What is predicted: a name of `task`.")],
    features: Annotated[str, typer.Option(help="The encoder whose embeddings are read.")],
) -> None:
    """Probe every cached layer of an encoder, and place the clips in two dimensions."""
    from pipeline.embeddings.reader import opened, paths
    from pipeline.scoring import probes
    from pipeline.splits import targets
    from pipeline.splits.task import examples
    from pipeline.work.seeds import derive

    targets.require_fitting("probe.tasks", task)
    params, key, wanted = load("probe", ProbeParams), f"task.{task}", targets.of(task)
    names = load("corpora", list[str])
    keys = ("seed", "numerics_version", "corpora", "folds", key)
    own = ("probe.c", "probe.layer", "probe.points")
    read = [*manifest.folders(names), folds.FOLDS, *paths(features, names)]
    target = ARTIFACTS / "probes" / task / features
    made = Provenance.of(target, [*keys, *own], read)
    clips = manifest.read(names)
    seed = derive(load("seed", int), "probe")
    with opened(features, clips) as corpora:
        scores = []
        for fold in load("folds", list[int]):
            found = examples(wanted, clips, folds.read(fold), key)
            scores += probes.by_layer(corpora, found, params.c, fold)
        originals = [clip.clip for clip in clips if not clip.augmented_from]
        places = probes.places(corpora, originals, params.layer, params.points, seed)
    with files.publish(target) as out:
        out.mkdir()
        probes.write_layers(out, scores)
        probes.write_places(out, places)
        made.write(out)


if __name__ == "__main__":
    run(main)
