"""Which clips take part in a task (`pipeline.splits.targets`), and what they teach."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.corpora.manifest import Clip
from pipeline.ground import files, progress
from pipeline.ground.errors import PipelineError
from pipeline.splits.targets import Task

GENDERS = ("female", "male")


class Item(Protocol):
    """What takes part in a fold: an `Example`, or a `pipeline.splits.shares.Sample`."""

    @property
    def clip(self) -> Clip:
        """The clip."""


@dataclass(frozen=True)
class Example:
    """A clip that takes part in a fold: its role there and its targets."""

    clip: Clip
    role: str
    label: int
    gender: int | None


def examples(
    task: Task, clips: Sequence[Clip], roles: dict[str, str], key: str = "task"
) -> list[Example]:
    """The clips of a fold that are in the task's scope, in the order given; the others are told.

    ``key`` is where the task stands in ``params.yaml``.

    Raises:
        PipelineError: A class has no training clip.
    """
    found, out = [], Counter[str]()
    for clip in clips:
        label = task.index(clip.emotion)
        if label is None and clip.clip in roles:
            out[clip.emotion or "unlabelled"] += 1
        elif label is not None and clip.clip in roles:
            gender = GENDERS.index(clip.gender) if clip.gender in GENDERS else None
            found.append(Example(clip, roles[clip.clip], label, gender))
    if out:
        told = ", ".join(f"{count} {emotion}" for emotion, count in out.most_common())
        progress.say(f"{out.total()} of {len(roles)} clips are of no class, left out: {told}")
    _require_every_class(task, found, key)
    return found


def everything(clips: Sequence[Clip], roles: dict[str, str]) -> list[Example]:
    """Every clip of a fold, whatever its emotion, for training without labels."""
    return [Example(clip, roles[clip.clip], -1, None) for clip in clips if clip.clip in roles]


def of_role(found: Iterable[Example], role: str) -> list[Example]:
    """The examples of one role."""
    return [example for example in found if example.role == role]


def digest(found: Iterable[Example]) -> str:
    """A digest of the examples: their audio, roles and targets."""
    return files.digest([(e.clip.clip, e.clip.sha256, e.role, e.label, e.gender) for e in found])


def _require_every_class(task: Task, found: Sequence[Example], key: str) -> None:
    trained = {example.label for example in found if example.role == "train"}
    for label, name in enumerate(task.classes):
        if label not in trained:
            raise PipelineError(
                f"params.yaml: {key}.classes has {name!r}, but no training clip of this fold has "
                "that emotion, remove the class or add a corpus that has it"
            )
