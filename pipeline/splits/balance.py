"""Dealing speakers, sessions or corpora into folds that are alike in emotions and genders.

`pipeline.splits.partition` makes a fold's test clips of each hand; no randomness is involved.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from pipeline.corpora.manifest import Clip

# What stays on one side: the corpus, then its session or speaker.
Group = tuple[str, ...]
Table = npt.NDArray[np.float64]


def deal(groups: Mapping[Group, Sequence[Clip]], count: int) -> list[list[Group]]:
    """Deal groups, largest first, each to the fold that holds least of what it brings.

    Then pairs are swapped while that evens the folds out. Folds come in order of their first
    group, so that one group each is in order of group.
    """
    names = sorted(groups, key=lambda group: (-len(groups[group]), group))
    shares = _shares([groups[name] for name in names])
    loads = np.zeros((count, shares.shape[1]))
    homes: list[int] = []
    for row in shares:
        # Rounded, so that equal loads tie; a tie goes to the emptiest fold, then to the first.
        crowding, size = np.round(loads @ row, 9), np.round(loads.sum(1), 9)
        homes.append(int(np.lexsort((size, crowding))[0]))
        loads[homes[-1]] += row
    _swap(shares, loads, homes)
    dealt: list[list[Group]] = [[] for _ in range(count)]
    for name, home in zip(names, homes, strict=True):
        dealt[home].append(name)
    return sorted(dealt, key=min)


def _shares(groups: Sequence[Sequence[Clip]]) -> Table:
    """The share that each group (rows) has of every emotion, gender and pair of both (columns)."""
    counts = [
        Counter(key for c in members for key in (c.emotion, (c.gender,), (c.emotion, c.gender)))
        for members in groups
    ]
    keys = sorted(set().union(*counts), key=str)
    table = np.array([[count[key] for key in keys] for count in counts], float)
    shares: Table = table / table.sum(0)
    return shares


def _swap(shares: Table, loads: Table, homes: list[int]) -> None:
    """Swap two groups' folds wherever it lowers the sum of squared loads, until nothing does."""
    changed = True
    while changed:
        changed = False
        for i, j in combinations(range(len(homes)), 2):
            change = shares[j] - shares[i]
            here, there = homes[i], homes[j]
            if here != there and change @ (loads[here] - loads[there] + change) < -1e-9:
                loads[here] += change
                loads[there] -= change
                homes[i], homes[j] = there, here
                changed = True
