"""Which clips take part in a task (`pipeline.splits.targets`), and what they teach."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.corpora.manifest import Clip
from pipeline.ground import files, progress
from pipeline.ground.errors import PipelineError
from pipeline.splits.targets import FIELDS, Task
from pipeline.splits.valued import Aim, Shares, Valued, Values

GENDERS = ("female", "male")


class Item(Protocol):
    """What takes part in a fold, such as an `Example`."""

    @property
    def clip(self) -> Clip:
        """The clip."""


@dataclass(frozen=True)
class Example:
    """A clip that takes part in a fold: its role there and its aims.

    ``label`` is its class, -1 where it has none; ``values`` are shares of votes, dimensions or
    shares of listeners.
    """

    clip: Clip
    role: str
    label: int
    gender: int | None
    values: Values = ()


def examples(
    task: Task, clips: Sequence[Clip], roles: dict[str, str], key: str = "task"
) -> list[Example]:
    """The clips of a fold that are in the task's scope, in the order given; the others are told.

    ``key`` is where the task stands in ``params.yaml``. A test clip whose shares are masked, where
    its corpus has those of others, takes part: it is predicted and not scored.

    Raises:
        PipelineError: A class has no training clip, or no training clip is rated.
    """
    found, out = [], Counter[str]()
    heard = [clip for clip in clips if clip.clip in roles]
    aims = _aims(task, heard, roles)
    for clip, aim in zip(heard, aims, strict=True):
        if aim is None:
            out[task.why_not(clip)] += 1
        else:
            gender = GENDERS.index(clip.gender) if clip.gender in GENDERS else None
            found.append(Example(clip, roles[clip.clip], aim[0], gender, aim[1]))
    if out:
        told = ", ".join(f"{count} {reason}" for reason, count in out.most_common())
        progress.say(f"{key}: {out.total()} of {len(roles)} clips take no part: {told}")
    _require_trained(task, found, key)
    return found


def _aims(task: Task, heard: Sequence[Clip], roles: Mapping[str, str]) -> list[Aim | None]:
    aims = [task.aim(clip) for clip in heard]
    if not isinstance(task, Shares):
        return aims
    known = {clip.corpus for clip, aim in zip(heard, aims, strict=True) if aim}
    return [
        aim or (task.masked if roles[c.clip] == "test" and c.corpus in known else None)
        for c, aim in zip(heard, aims, strict=True)
    ]


def everything(clips: Sequence[Clip], roles: dict[str, str]) -> list[Example]:
    """Every clip of a fold, whatever its emotion, for training without labels."""
    return [Example(clip, roles[clip.clip], -1, None) for clip in clips if clip.clip in roles]


def of_role(found: Iterable[Example], role: str) -> list[Example]:
    """The examples of one role."""
    return [example for example in found if example.role == role]


def scale(task: Task, found: Iterable[Example]) -> tuple[list[float], list[float]]:
    """Mean and deviation of each value over the training clips that have it; of classes nothing."""
    if not isinstance(task, Valued):
        return [], []
    columns = zip(*(e.values for e in of_role(found, "train")), strict=True)
    values = [[value for value in own if not math.isnan(value)] for own in columns]
    deviations = [statistics.pstdev(own) or 1.0 for own in values]
    return [statistics.fmean(own) for own in values], deviations


def digest(found: Iterable[Example]) -> str:
    """A digest of the examples: their audio, roles and aims."""
    rows = [(e.clip.clip, e.clip.sha256, e.role, e.label, e.gender, e.values) for e in found]
    return files.digest(rows)


def _require_trained(task: Task, found: Sequence[Example], key: str) -> None:
    trained = of_role(found, "train")
    taught = {example.label for example in trained}
    is_told = (lambda value: not math.isnan(value)) if isinstance(task, Valued) else bool
    taught |= {index for e in trained for index, value in enumerate(e.values) if is_told(value)}
    for index, name in enumerate(task.names):
        if index not in taught:
            what = FIELDS[task.target]
            raise PipelineError(
                f"params.yaml: {key}.{what} has {name!r}, but no training clip of this fold tells "
                "of it, remove it or add a corpus that has it"
            )
