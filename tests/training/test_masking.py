"""Masked spans against transformers' own sampler."""

import numpy as np
import pytest
from transformers.models.hubert.modeling_hubert import _compute_mask_indices

from pipeline.training.masking import Spans

HUBERT = Spans(0.8, 10)


@pytest.mark.parametrize("frames", [99, 250, 749])
def test_the_rate_is_that_of_transformers(frames: int) -> None:
    rng = np.random.default_rng(0)
    ours = np.mean([HUBERT.draw(frames, rng).mean() for _ in range(2000)])
    np.random.seed(0)  # the peer draws from the global generator
    theirs = _compute_mask_indices((2000, frames), 0.8, 10).mean()
    assert ours == pytest.approx(theirs, abs=0.01)


def test_a_long_clip_is_masked_by_about_57_percent() -> None:
    rng = np.random.default_rng(1)
    assert np.mean([HUBERT.draw(1500, rng).mean() for _ in range(300)]) == pytest.approx(
        0.57, abs=0.02
    )


@pytest.mark.parametrize("frames", [10, 11, 40, 333])
def test_hidden_frames_come_in_whole_spans(frames: int) -> None:
    rng = np.random.default_rng(frames)
    for _ in range(50):
        mask = HUBERT.draw(frames, rng)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.view(np.int8), [0]])))
        assert all(stop - start >= 10 for start, stop in zip(edges[::2], edges[1::2], strict=True))


@pytest.mark.parametrize("frames", [1, 5, 9])
def test_a_clip_shorter_than_a_span_is_hidden_whole(frames: int) -> None:
    assert HUBERT.draw(frames, np.random.default_rng(0)).all()
    assert HUBERT.draw(frames, np.random.default_rng(0)).shape == (frames,)


def test_at_least_one_span_and_the_seed_decides() -> None:
    rare = Spans(0.001, 4)
    masks = [rare.draw(50, np.random.default_rng(seed)) for seed in range(40)]
    assert min(mask.sum() for mask in masks) >= 4
    assert np.array_equal(masks[3], rare.draw(50, np.random.default_rng(3)))
    assert len({mask.tobytes() for mask in masks}) > 10
