"""What raters said of a corpus: the ranges of its dimensions, and how far votes agree.

A part of the audit (`pipeline.corpora.audit`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.corpora.entries import Row
from pipeline.metrics import raters

DIGITS = 4
Ranges = Mapping[str, tuple[float, float]]


def report(rows: Sequence[Row], ranges: Ranges) -> dict[str, Any]:
    """``dimensions`` and ``votes`` as JSON-like data, empty where nobody rated; ``votes2`` if any.

    Args:
        rows: The utterances kept.
        ranges: The ends of the scale of each dimension, where they are known.
    """
    names = sorted({name for row in rows for name in row.dimensions})
    return {
        "dimensions": {name: _spread(rows, name, ranges.get(name)) for name in names},
        "votes": _votes([row.votes for row in rows if sum(row.votes.values())]),
        **_second([row.votes2 for row in rows if sum(row.votes2.values())]),
    }


def warnings(rows: Sequence[Row], ranges: Ranges) -> Iterator[str]:
    """Yield a line for each dimension whose values leave its scale."""
    for name, (low, high) in ranges.items():
        beyond = [row.source for row in rows if not low <= row.dimensions.get(name, low) <= high]
        if beyond:
            yield f"{name} beyond {low:g} to {high:g}: {len(beyond)}, first {beyond[0]}"


def is_decided(votes: Mapping[Any, float]) -> bool:
    """Whether one class has more votes than any other."""
    counts = sorted(votes.values())
    return bool(counts) and counts[-1] > 0 and counts[-2:].count(counts[-1]) == 1


def _spread(rows: Sequence[Row], name: str, scale: tuple[float, float] | None) -> dict[str, Any]:
    values = np.array([row.dimensions[name] for row in rows if name in row.dimensions])
    found = {"low": values.min(), "mean": values.mean(), "high": values.max()}
    return {
        "rated": len(values),
        **{key: round(float(value), DIGITS) for key, value in found.items()},
        "scale": list(scale) if scale else None,
    }


def _second(found: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """``votes2``: how many second emotions are named of an utterance; nothing where none is."""
    if not found:
        return {}
    each = [sum(votes.values()) for votes in found]
    named = [float(np.min(each)), float(np.median(each)), float(np.max(each))]
    return {"votes2": {"rated": len(found), "named": named}}


def _votes(found: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Raters per utterance, utterances without a winner, and Krippendorff's alpha."""
    if not found:
        return {}
    names = sorted({name for votes in found for name in votes})
    counts = np.array([[votes.get(name, 0) for name in names] for votes in found])
    alpha = raters.nominal(np.round(counts).astype(np.int64))
    each = counts.sum(1)
    return {
        "rated": len(found),
        "raters": [float(each.min()), float(np.median(each)), float(each.max())],
        "undecided": sum(not is_decided(votes) for votes in found),
        "alpha": None if np.isnan(alpha) else round(alpha, DIGITS),
    }
