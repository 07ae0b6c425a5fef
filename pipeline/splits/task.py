"""The classification task: which emotions are the classes, and which clips take part."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Protocol

from pydantic import Field, model_validator

from pipeline.corpora.manifest import Clip
from pipeline.ground import files, progress
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import Section

GENDERS = ("female", "male")


def folded(name: str) -> str:
    """An emotion's name without what only looks different: case, Unicode's forms, blanks."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()


class Task(Section):
    """Classes in the order of the model's outputs; ``merge`` maps an emotion to a class.

    Names are compared as `folded`.
    """

    classes: Annotated[list[str], Field(min_length=2)]
    merge: dict[str, str]

    @model_validator(mode="after")
    def _is_sound(self) -> "Task":
        classes, wrong = {folded(name) for name in self.classes}, []
        if len(classes) < len(self.classes):
            wrong.append("classes that differ, each once")
        if strangers := {name for name in self.merge.values() if folded(name) not in classes}:
            wrong.append(f"a merge into classes alone, not {_listed(strangers)}")
        if merged := {name for name in self.merge if folded(name) in classes}:
            wrong.append(f"a merge of what is no class itself, unlike {_listed(merged)}")
        if len({folded(name) for name in self.merge}) < len(self.merge):
            wrong.append("a merge of each emotion once, whatever its case")
        if not all(map(folded, [*self.classes, *self.merge])):
            wrong.append("of names, none of them empty")
        if wrong:
            raise ValueError(" and ".join(wrong))
        return self

    @cached_property
    def _indices(self) -> dict[str, int]:
        classes = {folded(name): index for index, name in enumerate(self.classes)}
        return classes | {folded(n): classes[folded(into)] for n, into in self.merge.items()}

    def index(self, emotion: str) -> int | None:
        """The class index of an emotion, or None where it is out of the task's scope."""
        return self._indices.get(folded(emotion))


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
    """The clips of a fold that are in the task's scope, in the order given; the others are told.

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


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))


def _require_every_class(task: Task, found: Sequence[Example]) -> None:
    trained = {example.label for example in found if example.role == "train"}
    for label, name in enumerate(task.classes):
        if label not in trained:
            raise PipelineError(
                f"params.yaml: task.classes has {name!r}, but no training clip of this fold has "
                "that emotion, remove the class or add a corpus that has it"
            )
