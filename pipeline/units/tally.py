"""How good the units of a fold are, counted while `cluster` writes them.

One pass, flat memory: per scale and role (train, dev) the counts of frames by unit, and by unit and
attribute: emotion, gender and speaker of their clip, and their phone class where a corpus comes
with an alignment. The attributes show what multi-task training added to the frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pipeline.corpora.manifest import Clip
from pipeline.ground.errors import PipelineError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

OF_CLIPS = ("emotion", "gender", "speaker")
ATTRIBUTES = (*OF_CLIPS, "phone")
ROLES = ("train", "dev")
UNKNOWN = ("", "unknown")
SIZE_QUANTILES = np.linspace(0, 1, 21)
# Below this share of centroids that own training frames, most are copies of one another.
LEAST_USED = 0.9


@dataclass(frozen=True)
class Attribute:
    """What frames are: from the frame ``begins[i]`` on, the value numbered ``codes[i]``.

    Begins ascend, and of equal ones the last holds; code -1 is unknown, of ``values`` known ones.
    """

    begins: Ints
    codes: Ints
    values: int

    @classmethod
    def of(cls, begins: Ints, names: Sequence[str]) -> Self:
        """Number the known names in their order."""
        known = sorted(set(names) - set(UNKNOWN))
        place = {name: i for i, name in enumerate(known)}
        return cls(begins, np.array([place.get(name, -1) for name in names], np.int64), len(known))

    def at(self, frames: Ints) -> Ints:
        """The codes of these frames."""
        return self.codes[np.searchsorted(self.begins, frames, "right") - 1]


class Tally:
    """Counts of every scale and role over the frames of ``clips``, each train or dev by ``roles``.

    ``offsets``, (clips + 1,), are where the clips' frames begin; ``phones`` where phones do, and
    their classes (`phones.frames`).
    """

    def __init__(
        self,
        codebooks: Mapping[int, Floats],
        clips: Sequence[Clip],
        roles: Mapping[str, str],
        offsets: Ints,
        phones: tuple[Ints, Sequence[str]],
    ) -> None:
        begins = offsets[:-1]
        coded = np.array([ROLES.index(roles[clip.clip]) for clip in clips])
        self._roles = Attribute(begins, coded, len(ROLES))
        self._attributes = {
            name: Attribute.of(begins, [getattr(clip, name) for clip in clips]) for name in OF_CLIPS
        }
        self._attributes["phone"] = Attribute.of(*phones)
        values = {name: attribute.values for name, attribute in self._attributes.items()}
        self._counts = {scale: [Counts(scale, values) for _ in ROLES] for scale in codebooks}
        self._distinct = {scale: len(np.unique(c, axis=0)) for scale, c in codebooks.items()}

    def add(self, rows: slice, found: Mapping[int, tuple[Floats, Ints]]) -> None:
        """Count the frames ``rows``: per scale their squared distances and units."""
        frames = np.arange(rows.start, rows.stop)
        roles = self._roles.at(frames)
        codes = {name: attribute.at(frames) for name, attribute in self._attributes.items()}
        for role in range(len(ROLES)):
            own = roles == role
            known = {name: values[own] for name, values in codes.items()}
            for scale, (distances, units) in found.items():
                self._counts[scale][role].add(distances[own], units[own], known)

    def require_used(self) -> None:
        """Refuse a codebook most of which is idle.

        Raises:
            PipelineError: At some scale, less than 90 % of the centroids own a training frame.
        """
        for scale, (train, _) in self._counts.items():
            if train.used < LEAST_USED * scale:
                raise PipelineError(
                    f"params.yaml: cluster.scales has {scale} centroids, but only {train.used} own "
                    f"training frames, expected at least {LEAST_USED:.0%}, the frames have too few "
                    "distinct values: remove that scale or add clips"
                )

    def report(self) -> dict[str, Any]:
        """Per scale how many centroids are copies of another, and per role what was counted."""
        return {
            str(scale): {
                "duplicates": scale - self._distinct[scale],
                **{role: counts.summary() for role, counts in zip(ROLES, both, strict=True)},
            }
            for scale, both in self._counts.items()
        }


class Counts:
    """Frames by unit, and by unit and attribute value, of one scale and role."""

    def __init__(self, scale: int, values: Mapping[str, int]) -> None:
        self._distance = 0.0
        self._sizes = np.zeros(scale, np.int64)
        self._tables = {name: np.zeros((scale, n), np.int64) for name, n in values.items()}

    def add(self, distances: Floats, units: Ints, codes: Mapping[str, Ints]) -> None:
        """Count frames: squared distances, units and attribute codes (-1 is unknown)."""
        self._distance += float(distances.sum(dtype=np.float64))
        self._sizes += np.bincount(units, minlength=len(self._sizes))
        for name, table in self._tables.items():
            known = codes[name] >= 0
            pairs = units[known] * table.shape[1] + codes[name][known]
            np.add(table, np.bincount(pairs, minlength=table.size).reshape(table.shape), out=table)

    @property
    def used(self) -> int:
        """Units that own a frame."""
        return int(np.count_nonzero(self._sizes))

    def summary(self) -> dict[str, Any]:
        """Inertia is per frame; None where there is nothing to measure.

        ``sizes`` are quantiles of the frames of a unit, from the least to the most.
        """
        frames = int(self._sizes.sum())
        return {
            "frames": frames,
            "inertia": self._distance / frames if frames else None,
            "utilisation": self.used / len(self._sizes),
            "empty": len(self._sizes) - self.used,
            "entropy_bits": _entropy(self._sizes / max(frames, 1)) / float(np.log(2)),
            "smallest": int(self._sizes.min()),
            "median": float(np.median(self._sizes)),
            "largest": int(self._sizes.max()),
            "sizes": np.quantile(self._sizes, SIZE_QUANTILES).tolist(),
            **{name: agreement(table) for name, table in self._tables.items()},
        }


def agreement(table: Ints) -> dict[str, float] | None:
    """How well units (rows) tell an attribute (columns), from counts of frames.

    ``purity`` is the share of frames whose value is the commonest of their unit (HuBERT, section
    IV-B), ``chance`` what a single unit would reach; ``nmi`` is the mutual information over the
    mean of both entropies. None where the attribute has fewer than two values.
    """
    if np.count_nonzero(table.sum(0)) < 2:
        return None
    joint = table / table.sum()
    rows, columns = joint.sum(1), joint.sum(0)
    apart = _entropy(rows) + _entropy(columns)
    return {
        "purity": float(joint.max(1).sum()),
        "chance": float(columns.max()),
        "nmi": max(0.0, 2 * (apart - _entropy(joint)) / apart),
    }


def _entropy(shares: npt.NDArray[np.float64]) -> float:
    """In nats."""
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum()) + 0.0


def mean(reports: Sequence[Any]) -> Any:
    """`Tally.report` averaged over folds; None only where no fold has a figure."""
    known = [report for report in reports if report is not None]
    if known and isinstance(known[0], dict):
        return {key: mean([report[key] for report in known]) for key in known[0]}
    return np.mean(known, axis=0).tolist() if known else None
