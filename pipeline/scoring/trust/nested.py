"""Scores by task, start and method, as ``results/scores.json`` nests them."""

from collections.abc import Callable, Iterator

from pipeline.scoring.active import System
from pipeline.scoring.scores import Scores


def each(nested: Scores) -> Iterator[tuple[System, Scores]]:
    """Each task, start and method, and what there is of it."""
    for task, starts in nested.items():
        for start, methods in starts.items():
            for method, found in methods.items():
                yield (task, start, method), found


def of(nested: Scores, short: Callable[[Scores], Scores]) -> Scores:
    """The same with ``short`` of what there is of each."""
    made: Scores = {}
    for (task, start, method), found in each(nested):
        made.setdefault(task, {}).setdefault(start, {})[method] = short(found)
    return made
