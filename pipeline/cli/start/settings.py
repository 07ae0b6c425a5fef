"""The lines of ``params.yaml`` that fit a corpus: classes, merges, and a split for its speakers."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.cli.start.rows import Labelled
from pipeline.corpora import spellings
from pipeline.splits.targets import folded

MOST_FOLDS = 5
APART = 3  # speakers that a class needs: one each to train, to stop early and to be tested


@dataclass(frozen=True)
class Classes:
    """The utterances of each class by the alphabet, labels merged, and labels left out, why."""

    names: Mapping[str, int]
    merge: Mapping[str, str]
    left_out: Mapping[str, str]


def classes(rows: Sequence[Labelled]) -> Classes:
    """Each label under its canonical name; one that too few speakers say is left out."""
    counts = Counter(row.emotion for row in rows if row.emotion)
    into = {label: spellings.canonical(label) or folded(label) for label in counts}
    speakers: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.emotion:
            speakers[into[row.emotion]].add(row.speaker)
    known = len({row.speaker for row in rows if row.speaker})
    need = min(APART, known) if known > 1 else 1
    out = {
        label: f"{len(speakers[name])} of {known} speakers say it, too few for a split by speaker"
        for label, name in into.items()
        if len(speakers[name]) < need
    }
    names = Counter[str]()
    for label in counts.keys() - out:
        names[into[label]] += counts[label]
    kept = {label: name for label, name in into.items() if label not in out}
    return Classes(dict(sorted(names.items())), merged(kept), out)


def merged(into: Mapping[str, str]) -> dict[str, str]:
    """The labels that have another name than their class, each once, whatever its case."""
    once = {folded(label): label for label in sorted(into, reverse=True)}
    return {label: into[label] for own, label in sorted(once.items()) if own != folded(into[label])}


def told(classes: Classes, divided: Mapping[str, Any], why: str) -> list[str]:
    """What a person should know of classes and split before they are written."""
    words = ", ".join(f"{key} {value}" for key, value in divided.items())
    return [
        "classes: " + ", ".join(f"{name} {count}" for name, count in classes.names.items()),
        *merges(classes.merge),
        *(f"left out: {label}, {reason}" for label, reason in classes.left_out.items()),
        f"split: {words} ({why})",
    ]


def merges(merge: Mapping[str, str]) -> list[str]:
    """A line for each label that counts as a class of another name."""
    return [f"merge: {label} counts as {name}" for label, name in merge.items()]


def split(rows: Sequence[Labelled]) -> tuple[dict[str, Any], str]:
    """The settings of the split that suits the speakers, and why."""
    speakers = {row.speaker for row in rows}
    sessions = {row.session for row in rows}
    if all(row.split for row in rows) and {"train", "test"} <= {row.split for row in rows}:
        dev = "none" if any(row.split == "dev" for row in rows) else "speaker"
        return {"by": "published", "count": "all", "dev": dev}, "the table's own partition"
    if "" in speakers or len(speakers) < 2:
        return {"by": "random", "count": 5, "dev": "random"}, (
            "no speakers are known, or one alone: scores will be marked as NOT speaker-independent"
        )
    if "" not in sessions and 2 < len(sessions) < len(speakers) and _whole(rows):
        count = "all" if len(sessions) <= MOST_FOLDS else MOST_FOLDS
        return {"by": "session", "count": count, "dev": "speaker"}, f"{len(sessions)} sessions"
    count = "all" if len(speakers) <= MOST_FOLDS else MOST_FOLDS
    dev = "speaker" if len(speakers) >= APART else "none"
    return {"by": "speaker", "count": count, "dev": dev}, f"{len(speakers)} speakers"


def _whole(rows: Sequence[Labelled]) -> bool:
    """Whether each speaker is in one session alone."""
    met: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        met[row.speaker].add(row.session)
    return all(len(sessions) == 1 for sessions in met.values())


def folds(made: Mapping[str, Any], rows: Sequence[Labelled]) -> int:
    """How many folds a split makes."""
    if made["by"] == "published":
        return 1
    if made["count"] != "all":
        return int(made["count"])
    return len({row.session if made["by"] == "session" else row.speaker for row in rows})


def overlay(name: str, found: Classes, divided: Mapping[str, Any], count: int) -> dict[str, Any]:
    """What a first run needs: features without weights and linear classifiers, in minutes."""
    off: list[str] = []
    return {
        "corpora": [name],
        "encoders": ["tiny", "fbank", "mfcc"],
        "features": ["fbank", "mfcc"],
        "folds": list(range(count)),
        "adapted": off,
        "methods": {"cached": ["linear"], "pretrained": off, "retrained": off},
        "tasks": {"cached": ["emotion"], "pretrained": off, "retrained": off},
        "task": {"emotion": {"classes": list(found.names), "merge": dict(found.merge)}},
        "split": dict(divided),
        "networks": {"features": off},
        "probe": {"features": ["fbank"]},
    }
