"""cross: a classifier of each corpus, tested on each other, from cached embeddings.

No encoder runs. Reads the embeddings of one encoder over all corpora; writes the predictions of
each pair, of a corpus against itself by folds of its own speakers. `evaluate` makes the matrix.
"""

from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import Field

from pipeline.corpora import manifest
from pipeline.corpora.manifest import ARTIFACTS
from pipeline.ground import files, progress
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import Section, load
from pipeline.ground.provenance import Provenance
from pipeline.ground.stage import run
from pipeline.methods.finetuning import Crossed, FrozenParams, LinearParams
from pipeline.splits.pairs import Classes

if TYPE_CHECKING:
    from pipeline.splits.pairs import Pair


class CrossParams(Section):
    """The ``cross`` section."""

    task: str
    features: list[str]
    methods: list[Crossed]
    classes: Classes
    folds: Annotated[int, Field(ge=2, le=1000)]


def main(
    features: Annotated[str, typer.Option(help="The encoder whose embeddings are read.")],
    method: Annotated[Crossed, typer.Option(help="What is trained.")],
) -> None:
    """Train on each corpus and predict each other, and each corpus by its own folds."""
    from pipeline.embeddings.reader import opened, paths
    from pipeline.methods import cross
    from pipeline.scoring import crossed
    from pipeline.splits import targets
    from pipeline.splits.pairs import pairs
    from pipeline.splits.task import examples, of_role
    from pipeline.training import predictions
    from pipeline.work.seeds import derive

    params = load("cross", CrossParams)
    key, task = f"task.{params.task}", targets.of(params.task)
    if not isinstance(task, targets.Emotion):
        raise PipelineError(
            f"params.yaml: cross.task is {params.task!r}, whose target is {task.target}, expected "
            "emotion: the matrix has recalls of classes"
        )
    names, seed = load("corpora", list[str]), load("seed", int)
    keys = (
        "seed",
        "numerics_version",
        "corpora",
        key,
        "cross.task",
        "cross.classes",
        "cross.folds",
    )
    read = [*manifest.folders(names), *paths(features, names)]
    target = ARTIFACTS / "cross" / features / method
    made = Provenance.of(target, [*keys, f"finetune.methods.{method}"], read)
    clips = manifest.read(names)
    held = {name: [clip for clip in clips if clip.corpus == name] for name in names}
    found = list(pairs(task, held, params.classes, params.folds, seed))
    for line in dict.fromkeys(map(_line, found)):
        progress.say(line)
    with opened(features, clips) as corpora, files.publish(target) as out:
        if method == "linear":
            learn = cross.by_linear(load("finetune.methods.linear", LinearParams), corpora, clips)
        else:
            settings = load("finetune.methods.frozen", FrozenParams)
            learn = cross.by_frozen(settings, features, task, corpora)
        for pair in found:
            for number, fold in enumerate(pair.folds):
                own = examples(pair.task, clips, fold, key)
                logits = learn(pair.task, own, derive(seed, "cross", number))
                folder = out / pair.train / pair.test / str(number)
                folder.mkdir(parents=True)
                tested = of_role(own, "test")
                predictions.write(folder, pair.task, tested, logits)
        crossed.write(out, found)
        made.write(out)


def _line(pair: "Pair") -> str:
    if not pair.folds:
        return f"{pair.train}: no two speakers are known, not tested against itself"
    return f"{pair.train} to {pair.test}: {', '.join(pair.task.classes)}"


if __name__ == "__main__":
    run(main)
