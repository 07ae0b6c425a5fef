"""Augmentation of frames: masks of the right rate and length, speed, mixup."""

import numpy as np
import pytest

from pipeline.methods.networks.specaugment import (
    Augmentation,
    Floats,
    augmented,
    mixed,
    mixture,
    resampled,
)

NONE = Augmentation(speed=0.0, masks=0, mask_frames=20, mask_bands=8, mixup=0.0)


def ones(frames: int = 200, bands: int = 64) -> Floats:
    return np.ones((frames, bands), np.float32)


def test_nothing_asked_for_changes_nothing_and_makes_a_copy() -> None:
    frames = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    made = augmented(frames, NONE, np.random.default_rng(1))
    np.testing.assert_allclose(made, frames, atol=1e-6)
    assert not np.shares_memory(made, frames)


def test_masks_are_spans_of_uniform_length() -> None:
    settings = NONE.model_copy(update={"masks": 1})
    times, bands = [], []
    for seed in range(3000):
        hidden = augmented(ones(), settings, np.random.default_rng(seed)) == 0
        rows, columns = hidden.all(1), hidden.all(0)
        times.append(rows.sum())
        bands.append(columns.sum())
        assert (hidden == (rows[:, None] | columns)).all()
        for mask in (rows, columns):
            assert np.abs(np.diff(mask.astype(int), prepend=0, append=0)).sum() in (0, 2)
    # Uniform on 0 to T: the mean is T / 2; four standard errors of 3000 draws are 0.45 and 0.19.
    assert (min(times), max(times), min(bands), max(bands)) == (0, 20, 0, 8)
    assert abs(np.mean(times) - 10) < 0.45
    assert abs(np.mean(bands) - 4) < 0.19


def test_masks_never_hide_more_than_there_is() -> None:
    settings = NONE.model_copy(update={"masks": 3, "mask_frames": 50, "mask_bands": 50})
    for seed in range(50):
        assert augmented(ones(4, 3), settings, np.random.default_rng(seed)).shape == (4, 3)


def test_speed_keeps_the_ends_and_interpolates_between() -> None:
    ramp = np.arange(11, dtype=np.float32)[:, None].repeat(2, 1)
    np.testing.assert_allclose(resampled(ramp, 21)[:, 0], np.linspace(0, 10, 21), atol=1e-6)
    np.testing.assert_allclose(resampled(ramp, 6)[:, 1], np.linspace(0, 10, 6), atol=1e-6)
    assert resampled(ramp[:1], 3).tolist() == [[0, 0]] * 3
    settings = NONE.model_copy(update={"speed": 0.2})
    lengths = [len(augmented(ones(120), settings, np.random.default_rng(s))) for s in range(300)]
    assert min(lengths) == pytest.approx(120 / 1.2, abs=2)
    assert max(lengths) == pytest.approx(120 / 0.8, abs=2)


def test_mixup_by_hand() -> None:
    frames, other = ones(3, 2) * 2, ones(2, 2) * 10
    np.testing.assert_allclose(mixed(frames, other, 0.75)[:, 0], [4, 4, 1.5])
    assert len(mixed(frames, ones(9, 2), 0.5)) == 3
    assert mixture(0.0, np.random.default_rng(0)) == 1
    shares = [mixture(0.2, np.random.default_rng(seed)) for seed in range(2000)]
    assert min(shares) >= 0.5
    # E max(x, 1 - x) under Beta(0.2, 0.2) by quadrature of the density.
    x = (np.arange(200_000) + 0.5) / 200_000
    density = (x * (1 - x)) ** -0.8
    expected = (np.maximum(x, 1 - x) * density).sum() / density.sum()
    assert np.mean(shares) == pytest.approx(expected, abs=0.02)
