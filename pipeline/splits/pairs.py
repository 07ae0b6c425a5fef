"""Across corpora: who trains, who stops early and who is tested, for each pair of corpora.

A corpus that trains gives its own dev, and nothing of the corpus that is tested is in either role.
Against itself a corpus is tested by folds of its speakers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from pipeline.corpora.manifest import Clip
from pipeline.ground.errors import PipelineError
from pipeline.splits import folds, partition
from pipeline.splits.folds import Fold
from pipeline.splits.targets import Emotion, folded

Classes = Literal["common", "pair"]
Held = Mapping[str, Sequence[Clip]]


@dataclass(frozen=True)
class Pair:
    """One cell of the matrix: the corpora, the classes that both hold, the folds.

    There is one fold but on the diagonal, and none there where no two speakers are known.
    """

    train: str
    test: str
    task: Emotion
    folds: Sequence[Fold]


def pairs(task: Emotion, held: Held, classes: Classes, count: int, seed: int) -> Iterator[Pair]:
    """Every pair of corpora, in order; clips of other classes take no part.

    Args:
        task: Its classes that are not held by all are left out.
        held: The clips of each corpus.
        classes: ``common``, those of all corpora, so that all cells compare; or of each ``pair``.
        count: Folds on the diagonal, fewer where there are fewer speakers.
        seed: Of a random dev part, where a corpus has no second speaker to spare.

    Raises:
        PipelineError: Corpora have less than two classes in common, or share audio.
    """
    for train, test in product(held, held):
        both = {name: held[name] for name in (train, test)}
        common = _common(task, held if classes == "common" else both)
        clips = {name: _of(common, own) for name, own in both.items()}
        yield Pair(train, test, common, _folds(clips, train, test, count, seed))


def _common(task: Emotion, held: Held) -> Emotion:
    """The task with the classes that each of the corpora holds."""
    own = [{task.index(clip.emotion) for clip in clips} for clips in held.values()]
    kept = [name for index, name in enumerate(task.classes) if all(index in one for one in own)]
    if len(kept) < 2:
        raise PipelineError(
            f"params.yaml: cross: {', '.join(held)} have {len(kept)} of task.classes in common, "
            "expected two or more, set cross.classes to pair, mend task.merge or remove a corpus"
        )
    names = {folded(name) for name in kept}
    merge = {old: new for old, new in task.merge.items() if folded(new) in names}
    return Emotion(target="emotion", classes=kept, merge=merge)


def _of(task: Emotion, clips: Sequence[Clip]) -> list[Clip]:
    return [clip for clip in clips if task.index(clip.emotion) is not None]


def _folds(clips: Held, train: str, test: str, count: int, seed: int) -> list[Fold]:
    everything = [clip for own in clips.values() for clip in own]
    used = [clip for clip in everything if not clip.augmented_from]
    if train == test:
        made = _within(used, count)
    else:
        made = [{c.clip: "train" if c.corpus == train else "test" for c in used}]
    apart = all(_can_spare(used, fold) for fold in made)
    if apart:
        made = partition.take_dev(used, made, "speaker")
    else:
        made = partition.take_dev_at_random(used, made, seed)
    made = [partition.add_augmented(everything, fold) for fold in made]
    folds.require_no_leakage(made, everything, shared=not apart)
    return made


def _within(clips: Sequence[Clip], count: int) -> list[Fold]:
    speakers = {clip.speaker for clip in clips}
    if "" in speakers or len(speakers) < 2:
        return []
    return partition.by_group(clips, "speaker", min(count, len(speakers)))


def _can_spare(clips: Sequence[Clip], fold: Fold) -> bool:
    """Whether one of the training speakers can be dev: all are known, and there are two."""
    speakers = {clip.speaker for clip in clips if fold.get(clip.clip) == "train"}
    return "" not in speakers and len(speakers) > 1
