"""The GPU's k-means, on a CPU, and on a GPU where there is one."""

from pathlib import Path

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.embeddings.reader import Embeddings, Floats
from pipeline.ground.errors import PipelineError
from pipeline.units import kmeans, lloyd, sampling
from pipeline.units.lloyd import Points
from pipeline.units.nearest import nearest
from tests.clustered import brute_force, clip, mixture, write_frames

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def fit(frames: Floats, scales: list[int], seed: int, device: str = "cpu") -> dict[int, Floats]:
    return lloyd.fit(torch.from_numpy(frames.copy()).to(device), scales, 20, seed)


def inertia(frames: Floats, centroids: Floats) -> float:
    return float(nearest(frames, centroids)[0].mean(dtype=np.float64))


def by_faiss(frames: Floats, k: int, seed: int) -> Floats:
    peer = faiss.Kmeans(frames.shape[1], k, niter=20, seed=seed, min_points_per_centroid=1)
    peer.train(frames)
    return np.asarray(peer.centroids)


def require_no_worse(frames: Floats, scales: list[int], device: str) -> None:
    """Mean inertia of four seeds: of faiss at most, of the CPU's way 0.3 % more at most."""
    seeds = range(4)
    ours = [fit(frames, scales, seed, device) for seed in seeds]
    on_cpu = [kmeans.fit(frames.copy(), scales, 20, seed) for seed in seeds]
    for k in scales:
        own, other = (np.mean([inertia(frames, one[k]) for one in runs]) for runs in (ours, on_cpu))
        assert own <= np.mean([inertia(frames, by_faiss(frames, k, seed)) for seed in seeds])
        assert own <= 1.003 * other


def test_inertia_of_mixtures_is_no_worse_than_that_of_faiss_and_the_cpu(device: str) -> None:
    require_no_worse(mixture(4000, 80, seed=1, noise=0.6), [8, 32, 128], device)


def test_inertia_of_real_speech_is_no_worse(corpora_root: Path, device: str) -> None:
    from benchmarks.frames import speech

    frames = np.concatenate(speech([corpora_root / "emodb"], 20)).astype(np.float32)[:, ::12]
    require_no_worse(np.ascontiguousarray(frames[:3000]), [8, 64], device)


@pytest.mark.parametrize("seed", range(3))
def test_blobs_are_found(seed: int, device: str) -> None:
    frames = mixture(2000, 20, seed=5, width=24, noise=0.05)
    centres = np.random.default_rng(20).standard_normal((20, 24)).astype(np.float32)
    found = fit(frames, [20], seed, device)[20]
    assert brute_force(centres, found).min(1).max() < 0.01


def test_same_seed_same_bytes(device: str) -> None:
    frames = mixture(2000, 30, seed=1)
    one, two, other = (fit(frames, [8, 64], seed, device) for seed in (1, 1, 2))
    assert all(one[k].tobytes() == two[k].tobytes() for k in (8, 64))
    assert all(one[k].tobytes() != other[k].tobytes() for k in (8, 64))


def test_a_far_offset_costs_no_quality() -> None:
    frames = mixture(2000, 30, seed=1)
    plain, moved = fit(frames, [64], 1)[64], fit(frames + np.float32(1000), [64], 1)[64]
    assert inertia(frames, moved - 1000) == pytest.approx(inertia(frames, plain), rel=0.01)


def test_seeds_are_as_many_distinct_frames_as_asked_for(device: str) -> None:
    frames = mixture(3000, 200, seed=1)
    points = Points.of(torch.from_numpy(frames).to(device))
    seeds = lloyd._seeds(points, 200, seed=1).cpu().numpy()
    drawn = {row.tobytes() for row in seeds}
    assert len(drawn) == 200
    assert drawn <= {row.tobytes() for row in frames}


def test_seeds_of_many_a_step_are_worth_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = mixture(4000, 150, seed=2, noise=0.5)

    def mean(step: float) -> float:
        monkeypatch.setattr(lloyd, "STEP", step)
        points = Points.of(torch.from_numpy(frames))
        found = [lloyd._seeds(points, 128, seed).numpy() for seed in range(5)]
        return float(np.mean([inertia(frames, seeds) for seeds in found]))

    drawn = [frames[np.random.default_rng(seed).permutation(4000)[:128]] for seed in range(5)]
    at_random = np.mean([inertia(frames, seeds) for seeds in drawn])
    assert mean(lloyd.STEP) <= 1.03 * mean(0) < 0.9 * at_random


def test_iterations_are_over_relaxed_lloyds() -> None:
    frames = mixture(600, 10, seed=3)
    means = centroids = frames[:6]
    for _ in range(5):
        units = brute_force(frames, centroids).argmin(1)
        means = np.stack([frames[units == k].mean(0) for k in range(6)])
        centroids = means + kmeans.OVERSTEP * (means - centroids)
    start = torch.from_numpy(frames[:6])
    found = lloyd._lloyd(Points.of(torch.from_numpy(frames)), start, 5)
    np.testing.assert_allclose(found, means, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 6))
def test_means_are_those_of_the_members_and_empty_units_move_far_out(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    frames, distances = rng.standard_normal((30, 4)).astype(np.float32), rng.random(30)
    units = rng.integers(k, size=30)
    tensors = [torch.from_numpy(values) for values in (frames, units, distances)]
    means, empty = lloyd._means(tensors[0], tensors[1], tensors[2], k + 2)
    expected = [unit for unit in range(k + 2) if not (units == unit).any()]
    assert empty.nonzero()[:, 0].tolist() == expected
    for unit in set(range(k + 2)) - set(expected):
        np.testing.assert_allclose(means[unit], frames[units == unit].mean(0), rtol=1e-5, atol=1e-6)
    farthest = np.argsort(-distances, kind="stable")[: len(expected)]
    assert np.array_equal(means[expected], frames[farthest])


@pytest.mark.parametrize("piece", [16, 256])
def test_sums_are_exact_where_one_unit_has_most_frames_and_others_none(
    piece: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lloyd, "PIECE", piece)
    rng = np.random.default_rng(piece)
    frames = rng.standard_normal((2000, 7)).astype(np.float32)
    units = np.where(rng.random(2000) < 0.8, 3, rng.integers(2, 11, 2000))
    expected = np.zeros((13, 7))
    np.add.at(expected, units, frames.astype(np.float64))
    sums, sizes = lloyd._sums(
        torch.from_numpy(frames).to(device), torch.from_numpy(units).to(device), 13
    )
    np.testing.assert_allclose(sums.cpu(), expected, rtol=0, atol=1e-11)
    assert sizes.tolist() == np.bincount(units, minlength=13).tolist()


def test_means_of_blocks_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = torch.from_numpy(mixture(500, 10, seed=3))
    units, distances = torch.arange(500) % 7, torch.rand(500)
    whole, _ = lloyd._means(frames, units, distances, 9)
    monkeypatch.setattr(lloyd, "BLOCK_FRAMES", 130)
    np.testing.assert_allclose(lloyd._means(frames, units, distances, 9)[0], whole, rtol=1e-6)


def test_a_card_splits_frames_once_or_block_by_block(
    card: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = mixture(3000, 80, seed=1)
    once = fit(frames, [8, 64], 1, str(card))
    monkeypatch.setattr(lloyd, "SPARE", 2**60)
    for k, codebook in fit(frames, [8, 64], 1, str(card)).items():
        assert inertia(frames, codebook) == pytest.approx(inertia(frames, once[k]), rel=1e-3)


def test_a_card_is_not_waited_for_between_iterations(card: torch.device) -> None:
    points = Points.of(torch.from_numpy(mixture(3000, 80, seed=1)).to(card))
    lloyd._lloyd(points, points.frames[:64].clone(), 1)
    torch.cuda.set_sync_debug_mode("error")
    try:
        lloyd._lloyd(points, points.frames[:64].clone(), 3)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_what_a_pass_holds_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = mixture(500, 10, seed=3)
    whole = fit(frames, [20], 1)[20]
    monkeypatch.setattr(lloyd, "BLOCK_DISTANCES", 700)
    np.testing.assert_allclose(fit(frames, [20], 1)[20], whole, rtol=1e-5, atol=1e-6)


def test_a_product_of_split_tf32_is_that_of_fp32() -> None:
    a, b = (torch.from_numpy(mixture(n, 9, seed=n, width=768)) for n in (64, 48))
    exact = a.double() @ b.double().T
    scale = a.double().norm(dim=1)[:, None] * b.double().norm(dim=1)

    def error(product: torch.Tensor) -> float:
        return float(((product - exact).abs() / scale).max())

    wide, other_wide = lloyd.split(a, lloyd.OF_FRAMES), lloyd.split(b, lloyd.OF_OTHERS)
    assert error(wide @ other_wide.T) < 1e-6
    # As a GPU rounds what it multiplies: only the low parts may lose by it.
    (high, low), (other_high, other_low) = (lloyd.split(v, (0, 1)).chunk(2, 1) for v in (a, b))
    assert torch.equal(high + low, a)
    for values in (high, other_high):
        assert torch.equal(lloyd.split(values, (0,)), values)
    low, other_low = lloyd.split(low, (0,)), lloyd.split(other_low, (0,))
    whole = torch.cat([high, high, low], 1), torch.cat([other_high, other_low, other_high], 1)
    assert error(whole[0].double() @ whole[1].double().T) < 1e-6
    assert error(high.double() @ other_high.double().T) > 1e-5


def test_the_sample_of_a_device_is_that_of_the_host(tmp_path: Path, device: str) -> None:
    frames = {f"demo/{n}": mixture(20 + 9 * n, 5, seed=n) for n in range(6)}
    write_frames(tmp_path / "0.h5", [clip(name[5:], "s") for name in frames], frames)
    with Embeddings(tmp_path / "0.h5") as file:
        drawn = file, -3, {"demo/1", "demo/2", "demo/4"}, 70, 3
        expected, found = sampling.draw(*drawn), sampling.draw_on(device, *drawn)
    assert found.device.type == device
    assert np.array_equal(found.cpu(), expected)


def test_too_few_frames_are_an_error_that_names_both_numbers() -> None:
    with pytest.raises(PipelineError, match=r"64 centroids.* 639 frames"):
        fit(mixture(639, 5, seed=1), [8, 64], 1)


def test_frames_of_one_value_come_to_an_end() -> None:
    frames = np.full((400, 12), 0.1, np.float32)
    assert inertia(frames, fit(frames, [20], 1)[20]) == pytest.approx(0, abs=1e-6)
