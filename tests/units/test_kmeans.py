import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from pipeline.embeddings.reader import Embeddings
from pipeline.ground.errors import PipelineError
from pipeline.units import kmeans, sampling
from pipeline.units.nearest import Floats
from tests.clustered import brute_force, clip, mixture, write_frames


def inertia(frames: Floats, centroids: Floats) -> float:
    return float(brute_force(frames, centroids).min(1).mean())


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=20), st.integers(1, 600), st.integers(0, 9)
)
def test_quotas_are_as_equal_as_lengths_allow(lengths: list[int], total: int, seed: int) -> None:
    counts = sampling.quotas(np.array(lengths), total, seed)
    assert counts.sum() == min(total, sum(lengths))
    assert (counts <= lengths).all()
    # Whoever has frames left gives as many as anyone, to within the indivisible remainder.
    assert all(c >= counts.max() - 1 for c, n in zip(counts, lengths, strict=True) if c < n)


def test_the_sample_is_balanced_and_of_the_named_clips_only(tmp_path: Path) -> None:
    lengths = {"demo/a": 100, "demo/b": 5, "demo/c": 40, "demo/d": 60}
    frames = {
        name: np.arange(n, dtype=np.float32)[:, None] + 1000 * i
        for i, (name, n) in enumerate(lengths.items())
    }
    write_frames(tmp_path / "0.h5", [clip(name[5:], "s") for name in lengths], frames)
    with Embeddings(tmp_path / "0.h5") as file:
        sample = sampling.draw(file, -3, {"demo/a", "demo/b", "demo/d"}, 45, seed=1)
        again = sampling.draw(file, -3, {"demo/d", "demo/b", "demo/a"}, 45, seed=1)
        other = sampling.draw(file, -3, {"demo/a", "demo/b", "demo/d"}, 45, seed=2)
        everything = sampling.draw(file, -3, {"demo/b", "demo/c"}, 1000, seed=1)
    of_clip = sample[:, 0] // 1000
    assert [(of_clip == i).sum() for i in range(4)] == [20, 5, 0, 20]
    assert len(np.unique(sample)) == 45
    assert np.array_equal(sample, again)
    assert not np.array_equal(sample, other)
    assert np.array_equal(everything, np.concatenate([frames["demo/b"], frames["demo/c"]]))


def test_a_sample_costs_the_memory_of_itself_and_one_clip(tmp_path: Path) -> None:
    names = [f"demo/{i:03d}" for i in range(200)]
    frames = {name: mixture(300, 5, seed=i, width=64) for i, name in enumerate(names)}
    write_frames(tmp_path / "0.h5", [clip(name[5:], "s") for name in names], frames)
    total_bytes, clip_bytes = 200 * 300 * 64 * 4, 300 * 64 * 4
    with Embeddings(tmp_path / "0.h5") as file:
        tracemalloc.start()
        sample = sampling.draw(file, -3, set(names), 4000, seed=1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < sample.nbytes + 3 * clip_bytes + 100_000 < total_bytes / 10


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 6))
def test_means_are_those_of_the_members_and_empty_units_move_far_out(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    frames = rng.standard_normal((30, 4)).astype(np.float32)
    distances = rng.random(30).astype(np.float32)
    sums = np.zeros((k + 2, 4))
    before = np.full(30, -1)
    # From no units to some, to others: what moved is all that is added up.
    for _ in range(3):
        units = rng.integers(k, size=30)
        sums += kmeans._sums_gained(frames, before, units, k + 2)
        before = units
    found = kmeans._means(sums, np.bincount(units, minlength=k + 2), frames, distances)
    for unit in range(k + 2):
        members = frames[units == unit]
        if len(members):
            np.testing.assert_allclose(found[unit], members.mean(0), rtol=1e-5, atol=1e-6)
    empty = [unit for unit in range(k + 2) if not (units == unit).any()]
    farthest = np.argsort(-distances, kind="stable")[: len(empty)]
    assert np.array_equal(found[empty], frames[farthest])


def lloyd(frames: Floats, centroids: Floats, iterations: int, overstep: float = 0) -> Floats:
    means = centroids
    for _ in range(iterations):
        units = brute_force(frames, centroids).argmin(1)
        means = np.stack([frames[units == k].mean(0) for k in range(len(centroids))])
        centroids = means + np.float32(overstep) * (means - centroids)
    return means


@pytest.mark.parametrize("coarse", [1, kmeans.NEAR_CELLS])
def test_iterations_are_over_relaxed_lloyds_where_every_cell_is_near(
    coarse: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kmeans, "LEAST_GAIN", -1.0)
    frames = mixture(600, 10, seed=3)
    start = frames[:6].copy()
    expected = lloyd(frames, start, 5, float(kmeans.OVERSTEP))
    cells = kmeans._sort_by_cell(frames, frames[-coarse:].copy())
    found = kmeans._lloyd(frames, cells, start, 5)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_over_relaxed_iterations_are_worth_more_than_plain_ones() -> None:
    frames = mixture(4000, 60, seed=3, noise=0.8)
    one = kmeans.Cells(frames[:1], np.array([0, len(frames)]))
    starts = [frames[np.random.default_rng(n).permutation(4000)[:20]] for n in range(5)]
    ours = [inertia(frames, kmeans._lloyd(frames, one, start, 6)) for start in starts]
    plain = [inertia(frames, lloyd(frames, start, 8)) for start in starts]
    assert np.mean(ours) < np.mean(plain)


def test_iterations_end_where_little_is_gained() -> None:
    frames = mixture(3000, 30, seed=1)
    one, two = (kmeans.fit(frames.copy(), [8], n, seed=1)[8] for n in (50, 1000))
    assert one.tobytes() == two.tobytes()


def test_sorting_by_cell_only_reorders() -> None:
    frames = mixture(500, 10, seed=3, width=130)
    before, centroids = frames.copy(), frames[:7].copy()
    cells = kmeans._sort_by_cell(frames, centroids)
    assert np.array_equal(np.unique(frames, axis=0), np.unique(before, axis=0))
    truth = brute_force(frames, centroids)
    for cell in range(7):
        own = slice(cells.edges[cell], cells.edges[cell + 1])
        assert (truth[own].argmin(1) == cell).all()


def test_a_scale_takes_some_frames_and_all_without_a_copy() -> None:
    frames = mixture(500, 10, seed=3)
    assert np.shares_memory(kmeans._part(frames, 300), frames)
    part = kmeans._part(frames, 200)
    assert np.array_equal(part, frames[[*range(0, 500, 2)]])
    assert part.flags.c_contiguous


def test_frames_are_thinned_within_their_cells() -> None:
    frames = np.arange(10, dtype=np.float32)[:, None]
    cells = kmeans.Cells(frames[:4], np.array([0, 4, 4, 5, 10]))
    thin, found = kmeans._thinned(frames, cells, 5)
    assert thin[:, 0].tolist() == [0, 2, 4, 6, 8]
    assert found.edges.tolist() == [0, 2, 2, 3, 5]
    assert kmeans._thinned(frames, cells, 10)[0].shape == frames.shape


@pytest.mark.parametrize(
    ("scales", "steps"),
    [
        ([64, 512, 4096], [64, 512, 4096]),
        ([64, 4096], [64, 512, 4096]),
        ([128], [128]),
        ([512], [64, 512]),
        ([2, 4096], [2, 8, 64, 512, 4096]),
        ([100_000], [24, 195, 1562, 12_500, 100_000]),
    ],
)
def test_a_great_leap_has_steps_between(scales: list[int], steps: list[int]) -> None:
    assert kmeans._steps(scales) == steps


def test_a_scale_alone_is_fitted_in_steps_and_is_all_that_comes_back() -> None:
    frames = mixture(6000, 80, seed=1, noise=0.6)
    alone, after = (kmeans.fit(frames.copy(), s, 20, seed=1) for s in ([256], [32, 256]))
    assert list(alone) == [256]
    assert alone[256].tobytes() == after[256].tobytes()


def test_no_more_frames_are_needed_than_are_fitted_on() -> None:
    assert kmeans.needed([4, 32]) == kmeans.LEAST_FRAMES
    assert kmeans.needed([64, 4096]) == 256 * 4096


@pytest.mark.parametrize("seed", range(5))
def test_blobs_are_found(seed: int) -> None:
    frames = mixture(4000, 20, seed=5, width=24, noise=0.05)
    found = kmeans.fit(frames, [20], 20, seed=seed)[20]
    centres = np.random.default_rng(20).standard_normal((20, 24)).astype(np.float32)
    assert brute_force(centres, found).min(1).max() < 0.01


def test_inertia_is_that_of_scikit_learn() -> None:
    frames = mixture(6000, 80, seed=1, noise=0.6)
    ours = [kmeans.fit(frames.copy(), [8, 32, 128], 20, seed=seed) for seed in range(4)]
    # A finer scale is bound to the coarser one a little, the price of its speed.
    for k, tolerance in ((8, 1.01), (32, 1.03), (128, 1.02)):
        peers = [KMeans(k, n_init=1, random_state=seed).fit(frames) for seed in range(4)]
        theirs = np.mean([peer.inertia_ for peer in peers]) / len(frames)
        assert np.mean([inertia(frames, found[k]) for found in ours]) <= tolerance * theirs


def test_same_seed_same_bytes() -> None:
    frames = mixture(3000, 30, seed=1)
    one, two, other = (kmeans.fit(frames.copy(), [8, 64], 5, seed=s) for s in (1, 1, 2))
    assert all(one[k].tobytes() == two[k].tobytes() for k in (8, 64))
    assert all(one[k].tobytes() != other[k].tobytes() for k in (8, 64))


def test_a_far_offset_costs_no_quality() -> None:
    frames = mixture(3000, 30, seed=1)
    plain = kmeans.fit(frames.copy(), [8, 64], 10, seed=1)
    moved = kmeans.fit(frames + np.float32(10), [8, 64], 10, seed=1)
    for k in (8, 64):
        assert inertia(frames, moved[k] - 10) == pytest.approx(inertia(frames, plain[k]), rel=0.02)


def test_too_few_frames_are_an_error_that_names_both_numbers() -> None:
    frames = mixture(639, 5, seed=1)
    with pytest.raises(PipelineError, match=r"64 centroids.* 639 frames"):
        kmeans.fit(frames, [8, 64], 5, seed=1)


def test_few_frames_are_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    kmeans.require_enough(39 * 64, 64)
    assert capsys.readouterr().err == ""
    kmeans.require_enough(39 * 64 - 1, 64)
    assert "warning" in capsys.readouterr().err


def test_faiss_itself_never_prints_nor_subsamples(capfd: pytest.CaptureFixture[str]) -> None:
    # 10 frames per centroid at the finest scale, far beyond 256 at the coarsest.
    frames = mixture(1280, 60, seed=2, noise=0.01)
    kmeans.fit(frames, [2, 128], 5, seed=1)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
