"""From the clips of the active corpora to folds: who trains, who stops early, who is tested."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.corpora import manifest, published
from pipeline.corpora.manifest import CLIPS, Clip
from pipeline.ground import files, progress
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import Section, load
from pipeline.ground.provenance import Provenance
from pipeline.ground.stage import run
from pipeline.scoring import active
from pipeline.splits import folds, partition, scope, targets, train_share
from pipeline.splits.unscored import require_other_audio

GIVEN = Path("data/folds.csv")
SHARED_PARTS = 5  # [paper] a test set of 20 %
TOLD = 10  # groups of equal audio that are named


class SplitParams(Section):
    """How clips are divided; ``random`` alone lets a speaker be on both sides."""

    by: Literal["session", "speaker", "corpus", "published", "given", "random"]
    count: int | Literal["all"]
    dev: Literal["speaker", "session", "random", "none"]
    shared: Annotated[int, Field(ge=0, le=SHARED_PARTS)]
    train_share: Annotated[float, Field(gt=0, le=1)]

    @model_validator(mode="after")
    def _random_where_it_can_be(self) -> "SplitParams":
        counted = self.count != "all" and self.count >= 2
        if self.by == "random" and not (counted and self.dev in ("random", "none")):
            raise ValueError("by random with a count of 2 or more and dev random or none")
        if self.by == "random" and self.shared:
            raise ValueError("shared 0 where by is random, which shares speakers anyway")
        if self.dev == "random" and self.by not in ("random", "published", "given"):
            raise ValueError("dev speaker, session or none unless by is random, published or given")
        return self


def main() -> None:
    """Divide the clips into folds and check that nothing leaks between roles."""
    params = load("split", SplitParams)
    corpora = load("corpora", list[str])
    drawn = params.shared or "random" in (params.by, params.dev) or params.train_share < 1
    keys = ["corpora", "split", *(["seed"] if drawn else [])]
    provenance = Provenance.of(folds.FOLDS, keys, manifest.folders(corpora))
    clips = manifest.read(corpora)
    unlabelled = manifest.read(load("pretrain.corpora", list[str]), manifest.UNLABELLED)
    require_other_audio(unlabelled, clips)
    originals = [clip for clip in clips if not clip.augmented_from]
    made = _divide(params, originals, corpora)
    apart = len(made)
    made += _shared(params, originals)
    if params.train_share < 1:
        made = train_share.take(originals, made, params.train_share, load("seed", int))
    made = [partition.add_augmented(clips, fold) for fold in made]
    with files.publish(folds.FOLDS) as staged:
        folds.write(staged, made)
        written = folds.read_all(staged)
        sharing = _sharing(params, corpora)
        folds.require_no_leakage(written[:apart], clips, params.by == "random", sharing)
        folds.require_no_leakage(written[apart:], clips, shared=True)
        _require_classes(originals, made)
        provenance.require_same()
    files.seal(folds.FOLDS)
    provenance.write(folds.FOLDS, beside=True)
    repeated = folds.audio_in_several_corpora(originals)
    for group in repeated[:TOLD]:
        progress.say(f"the same audio: {', '.join(group)}")
    if len(repeated) > TOLD:
        progress.say(f"the same audio: {len(repeated) - TOLD} more groups across corpora")
    for number, fold in enumerate(made):
        roles = [f"{list(fold.values()).count(role)} {role}" for role in folds.ROLES]
        progress.say(f"fold {number}: {', '.join(roles)} of {len(clips)} clips")


def _require_classes(clips: Sequence[Clip], made: Sequence[folds.Fold]) -> None:
    """Say what takes no part; stop where a classifier could not learn one of its classes."""
    for name, used in active.tasks(active.checked()).items():
        key, task = f"task.{name}", targets.of(name)
        held = scope.labels(task, clips)
        for line in scope.lines(key, task, held):
            progress.say(line)
        scope.require_filled(key, task, held)
        scope.require_one_scale(key, task, _scales())
        scope.require_trained(key, task, clips, {n: folds.of(made, n) for n in used})


def _scales() -> dict[str, dict[str, list[float]]]:
    """The ends of the scale of each dimension, by corpus, as the audits have them."""
    audits = {name: CLIPS / name / "audit.json" for name in load("corpora", list[str])}
    found = {name: files.read_json(path) for name, path in audits.items() if path.is_file()}
    return {
        name: {dimension: told["scale"] for dimension, told in audit.get("dimensions", {}).items()}
        for name, audit in found.items()
    }


def _divide(params: SplitParams, clips: Sequence[Clip], corpora: list[str]) -> list[folds.Fold]:
    dev, count = params.dev, params.count
    if params.by == "random":
        return partition.at_random(clips, int(count), load("seed", int), dev=dev != "none")
    if params.by in ("published", "given"):
        lists = [GIVEN] if params.by == "given" else [_published(corpus) for corpus in corpora]
        made = partition.listed(clips, lists)
        if count not in ("all", len(made)):
            raise PipelineError(
                f"params.yaml: split.count is {count}, but {len(made)} are listed, set it to all"
            )
    else:
        made = partition.by_group(clips, params.by, None if count == "all" else count)
    if dev == "random":
        return partition.take_dev_at_random(clips, made, load("seed", int))
    return made if dev == "none" else partition.take_dev(clips, made, dev)


def _shared(params: SplitParams, clips: Sequence[Clip]) -> list[folds.Fold]:
    """Folds of a random fifth of the utterances, to be scored beside the others."""
    if not params.shared:
        return []
    dev = params.dev != "none"
    return partition.at_random(clips, SHARED_PARTS, load("seed", int), dev)[: params.shared]


def _sharing(params: SplitParams, corpora: list[str]) -> list[str]:
    """The corpora whose authors' own parts share speakers, where these are taken; each is told."""
    if params.by != "published":
        return []
    sharing = [corpus for corpus in corpora if published.is_shared(CLIPS / corpus)]
    for corpus in sharing:
        progress.say(
            f"{corpus}: speakers are on both sides of its published folds, so that no score is "
            "speaker-independent"
        )
    return sharing


def _published(corpus: str) -> Path:
    path = CLIPS / corpus / published.FILE
    if not path.is_file():
        raise PipelineError(f"{corpus}: no published folds are known, choose another split.by")
    files.require_intact(path)
    return path


if __name__ == "__main__":
    run(main)
