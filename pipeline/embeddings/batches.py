"""Which clips make a batch, which of them pass the encoder together, and reading them in time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.work.seeds import derive

# Batches are cut from pools of this many batches sorted by length: little padding, much shuffling.
POOL_BATCHES = 16
# What passes a GPU together: the host takes as long to start few clips as many.
GROUP_S = 800.0

Batch = TypeVar("Batch")
Group = TypeVar("Group")
Ints = npt.NDArray[np.int64]


def of_epoch(
    lengths: Sequence[float],
    batch: int,
    seed: int,
    epoch: int,
    labels: Sequence[int] | None = None,
) -> list[list[int]]:
    """The epoch's batches as indices into ``lengths``: shuffled, each of similar lengths.

    Every index appears once, or, where ``labels`` are given, every label as often as any other (or
    once more): an epoch is as long, and those of a rare label return. The order depends on the seed
    and the epoch alone. The last batch of the shuffled order may be smaller.
    """
    rng = np.random.default_rng(derive(seed, "batches", epoch))
    drawn = len(lengths) if labels is None else _balanced(np.array(labels), rng)
    order = rng.permutation(drawn)
    batches = []
    for start in range(0, len(order), POOL_BATCHES * batch):
        pool = sorted(order[start : start + POOL_BATCHES * batch], key=lambda i: lengths[i])
        batches += [[int(i) for i in pool[at : at + batch]] for at in range(0, len(pool), batch)]
    return [batches[i] for i in rng.permutation(len(batches))]


def by_budget(indices: Sequence[int], lengths: Sequence[float], budget: float) -> list[list[int]]:
    """Split ``indices`` into groups whose padded length, longest times count, fits ``budget``.

    Sorted from long to short, so that an out-of-memory error comes at once. A single index always
    makes a group, however long.
    """
    groups: list[list[int]] = []
    for index in sorted(indices, key=lambda i: (-lengths[i], i)):
        longest = lengths[groups[-1][0]] if groups else 0.0
        if groups and longest * (len(groups[-1]) + 1) <= budget:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def in_order(indices: Sequence[int], lengths: Sequence[float], budget: float) -> list[list[int]]:
    """Split ``indices`` into groups whose summed length fits ``budget``, in the order given.

    A single index always makes a group, however long.
    """
    groups: list[list[int]] = []
    total = budget
    for index in indices:
        if total + lengths[index] > budget:
            groups.append([])
            total = 0.0
        groups[-1].append(index)
        total += lengths[index]
    return groups


def share(indices: Sequence[int], lengths: Sequence[float], part: int, parts: int) -> list[int]:
    """One of ``parts`` disjoint shares of ``indices``, each with its part of every length."""
    return sorted(indices, key=lambda i: (-lengths[i], i))[part::parts]


def read_ahead(
    read: Callable[[Group], Batch], groups: Iterable[Group], threads: int = 1
) -> Iterator[Batch]:
    """Yield ``read(group)`` for each group; each thread reads one while another is in use."""
    with ThreadPoolExecutor(threads) as readers:
        begun: deque[Future[Batch]] = deque()
        for group in groups:
            begun.append(readers.submit(read, group))
            if len(begun) > threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


def _balanced(labels: Ints, rng: np.random.Generator) -> Ints:
    """As many indices as there are, the same number of each label; none twice before all once."""
    kinds = rng.permutation(np.unique(labels))  # by chance which of them get one more
    drawn = []
    for kind, times in enumerate(np.bincount(np.arange(len(labels)) % len(kinds))):
        own = np.flatnonzero(labels == kinds[kind])
        rounds = [rng.permutation(own) for _ in range(-(-times // len(own)))]
        drawn.append(np.concatenate(rounds)[:times])
    return np.concatenate(drawn)
