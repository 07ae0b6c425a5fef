"""stress: a trained classifier on its test clips again, in noise, on the telephone, in a room.

Nothing is trained. Reads the clips and one classifier of each fold; writes its predictions under
each condition, and of the clips as they were. `evaluate` scores them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import Field

from pipeline.audio.perturb.conditions import CLEAN, Condition
from pipeline.corpora import manifest
from pipeline.corpora.manifest import ARTIFACTS, Clip
from pipeline.embeddings import extraction
from pipeline.ground import files, locks, stage
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import Section, load
from pipeline.ground.provenance import Provenance
from pipeline.scoring import active
from pipeline.splits import folds
from stages.extract import ExtractParams

if TYPE_CHECKING:
    from pipeline.inference.stress.clips import Stressed


class StressParams(Section):
    """The ``stress`` section."""

    classifiers: list[str]
    conditions: Annotated[list[Condition], Field(min_length=1)]
    voices: Annotated[int, Field(ge=1, le=64)]


def main(
    classifier: Annotated[str, typer.Option(help="Its task, start and method, with / between.")],
) -> None:
    """Judge the test clips of a classifier's folds under each condition."""
    from pipeline.inference.stress import answers, clips, judging

    params, extract = load("stress", StressParams), load("extract", ExtractParams)
    used = {"/".join(s): found for s, found in active.stressed(active.checked()).items()}
    if classifier not in used:
        raise PipelineError(f"params.yaml: stress.classifiers has no {classifier!r}, add it")
    folder, target = ARTIFACTS / "classifiers" / classifier, ARTIFACTS / "stress" / classifier
    folders = {fold: folder / str(fold) for fold in used[classifier]}
    corpora = load("corpora", list[str])
    keys = ("seed", "numerics_version", "corpora", "folds", "adapted", "extract")
    read = [*manifest.folders(corpora), folds.FOLDS, *folders.values()]
    made = Provenance.of(target, [*keys, "stress.conditions", "stress.voices"], read)

    everyone, roles = manifest.read(corpora), folds.read_all()
    tested = {
        fold: answers.tested(place, everyone, folds.of(roles, fold))
        for fold, place in folders.items()
    }
    own = {clip.clip: clip for _, found in tested.values() for clip in found}
    # All of it before a classifier computes: its threads would not survive a fork.
    heard = _heard(params, list(own.values()), everyone)
    every = [one.clip for found in heard.values() for one in found.values()]
    kept = extraction.Kept(extract.frames, extract.means, extract.precision, extract.dtype)
    embeddings = judging.embedded(next(iter(folders.values())), kept, classifier, every)
    with files.publish(target) as out:
        for fold, place in folders.items():
            found, (rows, of_fold) = judging.load(place, embeddings), tested[fold]
            for name, stressed in heard.items():
                outputs = found.outputs([stressed[clip.clip].clip for clip in of_fold])
                (out / name / str(fold)).mkdir(parents=True)
                answers.write(out / name / str(fold), rows, of_fold, found.columns, outputs)
        files.write_json(out / clips.COUNTED, clips.counted(heard))
        made.write(out)


def _heard(
    params: StressParams, own: Sequence[Clip], everyone: Sequence[Clip]
) -> dict[str, dict[str, "Stressed"]]:
    """The clips under each condition, by id, each made once for all classifiers."""
    from pipeline.inference.stress import clips

    seed, workers = load("seed", int), stage.runtime().workers
    inputs = [seed, params.voices, load("numerics_version", int)], manifest.digest(everyone)
    store = locks.scratch(stage.resume_key("stress", *inputs))
    studio = clips.Studio(clips.speakers(everyone), params.voices, seed, store, workers)
    return {name: studio.under(name, own) for name in (CLEAN, *params.conditions)}


if __name__ == "__main__":
    stage.run(main)
