"""The classification task: which emotions are the classes, and which clips take part."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from pydantic import Field, model_validator

from pipeline.corpora.manifest import Clip
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import Section

GENDERS = ("female", "male")


class Task(Section):
    """Classes in the order of the model's outputs; ``merge`` maps an emotion to a class."""

    classes: Annotated[list[str], Field(min_length=2)]
    merge: dict[str, str]

    @model_validator(mode="after")
    def _is_sound(self) -> "Task":
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes that differ, each once")
        if strangers := set(self.merge.values()) - set(self.classes):
            raise ValueError(f"a merge into classes alone, not {min(strangers)!r}")
        if merged := set(self.merge) & set(self.classes):
            raise ValueError(f"a merge of what is no class itself, unlike {min(merged)!r}")
        return self

    def label(self, clip: Clip) -> int | None:
        """The clip's class index, or None where its emotion is out of the task's scope."""
        emotion = self.merge.get(clip.emotion, clip.emotion)
        return self.classes.index(emotion) if emotion in self.classes else None


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


def examples(task: Task, clips: Sequence[Clip], roles: dict[str, str]) -> list[Example]:
    """The clips of a fold that are in the task's scope, in the order given.

    Raises:
        PipelineError: A class has no training clip.
    """
    found = []
    for clip in clips:
        label = task.label(clip)
        if label is not None and clip.clip in roles:
            gender = GENDERS.index(clip.gender) if clip.gender in GENDERS else None
            found.append(Example(clip, roles[clip.clip], label, gender))
    _require_every_class(task, found)
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


def _require_every_class(task: Task, found: Sequence[Example]) -> None:
    trained = {example.label for example in found if example.role == "train"}
    for label, name in enumerate(task.classes):
        if label not in trained:
            raise PipelineError(
                f"params.yaml: task.classes has {name!r}, but no training clip of this fold has "
                "that emotion, remove the class or add a corpus that has it"
            )
