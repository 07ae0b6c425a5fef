"""What a task predicts: the sections below ``task`` in ``params.yaml``, by the task's name.

A target says which utterances take part, and with what aim: a class's index, and values.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, TypeAlias, cast

from pydantic import Field, model_validator

from pipeline.corpora import ratings
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import PARAMS_FILE, Section, load
from pipeline.splits.valued import UNDECIDED, Aim, Dimensions, Rated, Shares

# The key of a task that has the names of its outputs.
FIELDS = {
    "emotion": "classes",
    "votes": "classes",
    "dimensions": "dimensions",
    "shares": "emotions",
}


def folded(name: str) -> str:
    """An emotion's name without what only looks different: case, Unicode's forms, blanks."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()


class Classes(Section):
    """Classes in the order of the model's outputs; ``merge`` maps an emotion to a class.

    Names are compared as `folded`.
    """

    classes: Annotated[list[str], Field(min_length=2)]
    merge: dict[str, str]

    @model_validator(mode="after")
    def _is_sound(self) -> "Classes":
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

    @property
    def names(self) -> list[str]:
        """Of the model's outputs."""
        return self.classes

    @cached_property
    def _indices(self) -> dict[str, int]:
        classes = {folded(name): index for index, name in enumerate(self.classes)}
        return classes | {folded(n): classes[folded(into)] for n, into in self.merge.items()}

    def index(self, emotion: str) -> int | None:
        """The class index of an emotion, or None where it is out of the task's scope."""
        return self._indices.get(folded(emotion))


class Emotion(Classes):
    """One class per utterance: the emotion that its corpus gives it."""

    target: Literal["emotion"]

    def held(self, rated: Rated) -> list[str]:
        """What an utterance tells of, by the corpus's names."""
        return [rated.emotion] if rated.emotion else []

    def aim(self, rated: Rated) -> Aim | None:
        """The index of an utterance's class; None where it is out of scope."""
        label = self.index(rated.emotion)
        return None if label is None else (label, ())

    def why_not(self, rated: Rated) -> str:
        """Why an utterance takes no part, in a word or two."""
        return rated.emotion or "unlabelled"


class Votes(Classes):
    """How raters' votes are distributed over the classes.

    Votes for other emotions don't count. ``votes`` says which do: the ``primary`` choices, or
    ``both``, to which each rater's second ones are added (Chou et al., ICASSP 2022). The class that
    most raters agree on is that of the primary choices. ``undecided`` utterances, which have none,
    are kept or dropped; kept ones are scored as distributions alone.
    """

    target: Literal["votes"]
    votes: Literal["primary", "both"]
    undecided: Literal["keep", "drop"]

    @property
    def loss(self) -> Literal["soft-ce"]:
        """Cross-entropy with the shares of the votes."""
        return "soft-ce"

    def held(self, rated: Rated) -> list[str]:
        """As of `Emotion`."""
        told = [rated.votes, rated.votes2] if self.votes == "both" else [rated.votes]
        return [*dict.fromkeys(name for votes in told for name, count in votes.items() if count)]

    def aim(self, rated: Rated) -> Aim | None:
        """The class with most votes, `UNDECIDED` where several have, and each class's share."""
        counts, first = self.counts(rated), self._of(rated.votes)
        if not sum(counts) or (self.undecided == "drop" and not _is_decided(first)):
            return None
        label = first.index(max(first)) if _is_decided(first) else UNDECIDED
        return label, tuple(count / sum(counts) for count in counts)

    def why_not(self, rated: Rated) -> str:
        """As of `Emotion`."""
        return "undecided" if sum(self.counts(rated)) else "no votes"

    def counts(self, rated: Rated) -> list[float]:
        """The votes for each class that count, merged ones among them."""
        first = self._of(rated.votes)
        if self.votes == "primary":
            return first
        return [one + other for one, other in zip(first, self._of(rated.votes2), strict=True)]

    def _of(self, votes: Mapping[str, float]) -> list[float]:
        counts = [0.0] * len(self.classes)
        for emotion, count in votes.items():
            index = self.index(emotion)
            if index is not None:
                counts[index] += count
        return counts


Task: TypeAlias = Emotion | Votes | Dimensions | Shares
_TAGGED = Annotated[Task, Field(discriminator="target")]
Kind: TypeAlias = Literal["emotion", "votes", "dimensions"]


def kind(target: str) -> Kind:
    """How a target is told: shares are values, as dimensions are."""
    return "dimensions" if target == "shares" else cast(Kind, target)


def of(name: str, path: Path = PARAMS_FILE) -> Task:
    """The task of this name in ``params.yaml``.

    Raises:
        PipelineError: There is none, or it is not sound.
    """
    found: Task = load(f"task.{name}", _TAGGED, path)  # type: ignore[arg-type]
    return found


# Of stages that don't learn every target: which they learn, and why no others (docs/tasks.md).
FITTING = {
    "crnn.tasks": (("emotion", "votes"), "its network tells classes apart"),
    "networks.tasks": (("dimensions", "shares"), "its networks tell values, and no classes"),
    "probe.tasks": (("emotion",), "a probe measures recalls of classes"),
}


def require_fitting(key: str, name: str, path: Path = PARAMS_FILE) -> None:
    """Refuse a task that the stage of a key of ``params.yaml`` can't learn.

    Raises:
        PipelineError: It can't.
    """
    (known, why), target = FITTING[key], of(name, path).target
    if target not in known:
        raise PipelineError(
            f"params.yaml: {key} has {name!r}, whose target is {target}, but {why}, remove it there"
        )


def _is_decided(counts: list[float]) -> bool:
    return ratings.is_decided(dict(enumerate(counts)))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))
