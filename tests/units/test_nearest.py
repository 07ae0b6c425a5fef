import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import faiss
import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.embeddings.reader import Embeddings
from pipeline.encoders.layers import frames_name
from pipeline.ground.errors import PipelineError
from pipeline.units import nearest as exact
from pipeline.units.nearest import Ints
from tests.clustered import brute_force, clip, mixture, write_frames


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 200), st.integers(1, 40), st.integers(1, 30))
def test_nearest_is_the_brute_force_minimum(seed: int, n: int, k: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    frames, centroids = (rng.standard_normal((m, width)).astype(np.float32) for m in (n, k))
    distances, numbers = exact.nearest(frames, centroids)
    truth = brute_force(frames, centroids)
    chosen = truth[np.arange(n), numbers]
    np.testing.assert_allclose(chosen, truth.min(1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(distances, truth.min(1), rtol=1e-4, atol=1e-4)


def test_the_blas_of_faiss_knows_the_cpu_and_no_child_is_told() -> None:
    code = (
        "import os, pipeline.units.nearest, threadpoolctl\n"
        "assert 'OPENBLAS_CORETYPE' not in os.environ\n"
        "for found in threadpoolctl.threadpool_info():\n"
        "    if 'faiss' in found['filepath'] and found['user_api'] == 'blas':\n"
        "        print(found['architecture'])"
    )
    told = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    found = subprocess.run(
        [sys.executable, "-c", code], env=told, capture_output=True, text=True, check=True
    ).stdout.split()
    flags = Path("/proc/cpuinfo").read_text("utf-8").split()
    if "avx2" not in flags:
        pytest.skip("this CPU has no AVX2")
    assert found == ["SkylakeX" if "avx512vl" in flags else "Haswell"]


def test_streamed_units_are_the_nearest_centroids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exact, "BLOCK_FRAMES", 7)
    frames = {f"demo/{i}": mixture(11 + i, 5, seed=i) for i in range(5)}
    write_frames(tmp_path / "0.h5", [clip(name[5:], "s") for name in frames], frames)
    whole = np.concatenate(list(frames.values()))
    codebooks = {k: mixture(k, 5, seed=k) for k in (3, 9)}
    found: dict[int, list[Ints]] = {3: [], 9: []}
    with Embeddings(tmp_path / "0.h5") as file:
        for rows, both in exact.assign(file, -3, codebooks):
            for k, (_, units) in both.items():
                assert len(units) == rows.stop - rows.start
                found[k].append(units)
    for k, blocks in found.items():
        assert np.array_equal(np.concatenate(blocks), brute_force(whole, codebooks[k]).argmin(1))


def test_memory_of_a_stream_is_that_of_a_block(tmp_path: Path) -> None:
    width, rows = 64, 4 * exact.BLOCK_FRAMES
    frames = {"demo/a": mixture(rows, 5, seed=1, width=width)}
    write_frames(tmp_path / "0.h5", [clip("a", "s")], frames)
    codebooks = {16: mixture(16, 5, seed=2, width=width)}
    with Embeddings(tmp_path / "0.h5") as file:
        tracemalloc.start()
        for _ in exact.assign(file, -3, codebooks):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2.5 * exact.BLOCK_FRAMES * width * 4


@pytest.fixture
def by_torch(monkeypatch: pytest.MonkeyPatch) -> str:
    """A device on which all but faiss's own product runs as on a GPU."""
    monkeypatch.setattr(
        exact, "_pairwise", lambda a, b: torch.cdist(a.double(), b.double()).square().float()
    )
    return "cpu:0"


def test_units_of_a_gpu_are_the_nearest_centroids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_torch: str
) -> None:
    monkeypatch.setattr(exact, "GPU_BLOCK_FRAMES", 17)
    monkeypatch.setattr(exact, "BLOCK_DISTANCES", 40)
    frames = {"demo/a": mixture(80, 5, seed=1)}
    write_frames(tmp_path / "0.h5", [clip("a", "s")], frames)
    codebooks = {k: mixture(k, 5, seed=k) for k in (3, 9)}
    with Embeddings(tmp_path / "0.h5") as file:
        blocks = list(exact.assign(file, -3, codebooks, by_torch))
    assert [rows.stop for rows, _ in blocks] == [17, 34, 51, 68, 80]
    for k, centroids in codebooks.items():
        truth = brute_force(frames["demo/a"], centroids)
        distances, units = (np.concatenate([found[k][n] for _, found in blocks]) for n in (0, 1))
        assert np.array_equal(units, truth.argmin(1))
        np.testing.assert_allclose(distances, truth.min(1), rtol=1e-5)


def test_a_value_that_is_not_finite_is_seen_on_a_gpu(tmp_path: Path, by_torch: str) -> None:
    frames = mixture(80, 5, seed=1)
    write_frames(tmp_path / "0.h5", [clip("a", "s")], {"demo/a": frames})
    with h5py.File(tmp_path / "0.h5", "a") as file:
        file[frames_name(-3, 12)][70, 3] = np.inf
    with Embeddings(tmp_path / "0.h5") as found, pytest.raises(PipelineError, match="infinity"):
        list(exact.assign(found, -3, {4: frames[:4]}, by_torch))


def test_a_gpu_that_faiss_lacks_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert exact.pick_device("cpu") == "cpu"
    with pytest.raises(PipelineError, match=r"runtime\.device.*'cuda:99'.*extra gpu"):
        exact.pick_device("cuda:99")
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    monkeypatch.setattr(exact, "_torch_sees_a_gpu", lambda: True)
    with pytest.raises(PipelineError, match=r"runtime\.device.*'auto'.*extra gpu"):
        exact.pick_device("auto")
    monkeypatch.setattr(exact, "_torch_sees_a_gpu", lambda: False)
    assert exact.pick_device("auto") == "cpu"


@pytest.fixture
def gpu() -> str:
    found = exact.pick_device("auto")
    if found == "cpu":
        pytest.skip("faiss sees no GPU here (it needs one and the extra gpu)")
    return found


def test_faiss_shares_a_process_and_a_gpu_with_torch(gpu: str) -> None:
    """Their wheels bring CUDA libraries of their own, of different versions."""
    frames, centroids = mixture(5000, 50, seed=1), mixture(100, 50, seed=2)
    x, c = (torch.from_numpy(values).to(gpu) for values in (frames, centroids))
    before = exact.nearest_on_gpu(x, c)
    least = torch.cdist(x.double(), c.double()).square().min(1)
    after = exact.nearest_on_gpu(x, c)
    torch.testing.assert_close(before[0], least.values.float(), rtol=1e-4, atol=1e-4)
    assert (before[1] == least.indices).float().mean() > 0.999
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])


def test_gpu_and_cpu_agree(gpu: str) -> None:
    frames, centroids = mixture(5000, 50, seed=1), mixture(100, 50, seed=2)
    distances, units = exact.nearest(frames, centroids)
    on_gpu = exact.nearest_on_gpu(*(torch.from_numpy(v).to(gpu) for v in (frames, centroids)))
    np.testing.assert_allclose(on_gpu[0].cpu(), distances, rtol=1e-4)
    assert (on_gpu[1].cpu().numpy() == units).mean() > 0.999
