"""What a task predicts: the sections below ``task`` in ``params.yaml``, by the task's name."""

import unicodedata
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from pipeline.ground.params import PARAMS_FILE, Section, load


def folded(name: str) -> str:
    """An emotion's name without what only looks different: case, Unicode's forms, blanks."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()


class Emotion(Section):
    """One class per utterance, in the order of the model's outputs.

    ``merge`` maps an emotion to a class. Names are compared as `folded`.
    """

    target: Literal["emotion"]
    classes: Annotated[list[str], Field(min_length=2)]
    merge: dict[str, str]

    @model_validator(mode="after")
    def _is_sound(self) -> "Emotion":
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


Task: TypeAlias = Emotion


def of(name: str, path: Path = PARAMS_FILE) -> Task:
    """The task of this name in ``params.yaml``.

    Raises:
        PipelineError: There is none, or it is not sound.
    """
    return load(f"task.{name}", Task, path)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))
