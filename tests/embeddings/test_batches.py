"""Batches: every clip once, similar lengths together, a fixed order."""

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embeddings import batches

lengths = st.lists(st.floats(0.1, 20), min_size=1, max_size=300)


@given(lengths, st.integers(1, 40), st.integers(0, 9))
def test_an_epoch_has_every_clip_once(clips: list[float], batch: int, epoch: int) -> None:
    made = batches.of_epoch(clips, batch, 7, epoch)
    assert sorted(i for group in made for i in group) == list(range(len(clips)))
    assert all(1 <= len(group) <= batch for group in made)
    assert made == batches.of_epoch(clips, batch, 7, epoch)


def test_epochs_and_seeds_differ() -> None:
    clips = [float(i % 13) for i in range(100)]
    orders = {str(batches.of_epoch(clips, 8, seed, epoch)) for seed in (1, 2) for epoch in (1, 2)}
    assert len(orders) == 4


@given(
    st.lists(st.tuples(st.floats(0.1, 20), st.integers(0, 3)), min_size=1, max_size=200),
    st.integers(1, 40),
    st.integers(0, 9),
)
def test_a_balanced_epoch_is_as_long_and_has_every_label_as_often(
    clips: list[tuple[float, int]], batch: int, epoch: int
) -> None:
    seconds, labels = [s for s, _ in clips], [label for _, label in clips]
    made = batches.of_epoch(seconds, batch, 7, epoch, labels)
    drawn = [i for group in made for i in group]
    assert len(drawn) == len(clips)
    often = Counter(labels[i] for i in drawn)
    assert set(often) == set(labels) or len(clips) < 4
    assert max(often.values()) - min(often.values()) <= 1
    for label in often:  # none for the third time before all were drawn twice
        times = Counter(i for i in drawn if labels[i] == label)
        own = [times[i] for i, other in enumerate(labels) if other == label]
        assert max(own) - min(own) <= 1
    assert made == batches.of_epoch(seconds, batch, 7, epoch, labels)


def test_balanced_epochs_and_seeds_differ() -> None:
    clips, labels = [float(i % 13) for i in range(100)], [int(i > 80) for i in range(100)]
    orders = {
        str(batches.of_epoch(clips, 8, seed, epoch, labels)) for seed in (1, 2) for epoch in (1, 2)
    }
    assert len(orders) == 4
    seen = [
        {i for group in batches.of_epoch(clips, 8, 1, epoch, labels) for i in group}
        for epoch in range(1, 6)
    ]
    assert set.union(*seen) == set(range(100))  # what an epoch leaves out, others have


def test_batches_of_similar_lengths_waste_little() -> None:
    """Against random batches of the same size, whose padding is more than twice as much."""
    rng = random.Random(5)
    clips = [rng.lognormvariate(1.2, 0.6) for _ in range(2000)]

    def padding(made: list[list[int]]) -> float:
        padded = sum(max(clips[i] for i in group) * len(group) for group in made)
        return padded / sum(clips) - 1

    order = rng.sample(range(2000), 2000)
    shuffled = [order[i : i + 16] for i in range(0, 2000, 16)]
    assert padding(batches.of_epoch(clips, 16, 1, 1)) < 0.4 * padding(shuffled)


@given(lengths, st.floats(0.1, 100))
def test_groups_fit_the_budget(clips: list[float], budget: float) -> None:
    groups = batches.by_budget(range(len(clips)), clips, budget)
    assert sorted(i for group in groups for i in group) == list(range(len(clips)))
    for group in groups:
        assert len(group) == 1 or max(clips[i] for i in group) * len(group) <= budget


@pytest.mark.parametrize("threads", [1, 3])
def test_reading_ahead_keeps_the_order_and_runs_no_further_ahead_than_its_threads(
    threads: int,
) -> None:
    asked: list[int] = []

    def groups() -> Iterator[int]:
        for group in range(20):
            asked.append(group)
            yield group

    for group, batch in enumerate(batches.read_ahead(lambda n: n * n, groups(), threads)):
        assert batch == group**2
        assert len(asked) <= group + threads + 1
    assert asked == list(range(20))


def test_what_a_thread_that_reads_ahead_raises_is_raised() -> None:
    read = batches.read_ahead(lambda n: 1 // (3 - n), range(9), 2)
    assert [next(read) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(read)
