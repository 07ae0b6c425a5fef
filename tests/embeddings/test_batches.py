"""Batches: every clip once, similar lengths together, a fixed order."""

import random

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
