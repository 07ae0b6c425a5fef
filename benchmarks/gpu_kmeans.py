"""The part of `benchmarks.gpu` that fits codebooks and assigns units, against faiss.Kmeans."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch

from benchmarks.device import peak_mib, reset_peak, seconds
from benchmarks.frames import store
from benchmarks.gpu_bench import Bench
from benchmarks.gpu_table import Row
from pipeline.embeddings.reader import Embeddings
from pipeline.units import kmeans, lloyd, nearest


def clusters(bench: Bench) -> Iterator[Row]:
    """Codebooks of all scales against faiss's, then units, then those of a file."""
    frames, iterations = mixture(bench, bench.frames), 20
    reset_peak(bench.device)
    lloyd.fit(frames[: kmeans.FEW * bench.scales[-1]].clone(), bench.scales, 1, 1)
    codebooks: dict[int, Any] = {}

    def fit(own: torch.Tensor) -> None:
        codebooks.update(lloyd.fit(own, bench.scales, iterations, 1))

    taken = seconds(bench.device, fit, frames.clone())
    theirs = {k: by_faiss(bench, frames, k, iterations) for k in bench.scales}
    yield Row(
        "kmeans", f"{len(frames)} x {frames.shape[1]} at {bench.scales}", taken, "s", aim=4,
        peak_mib=peak_mib(bench.device), peer="faiss.Kmeans",
        times=sum(spent for spent, _ in theirs.values()) / taken,
    )  # fmt: skip
    for k, codebook in codebooks.items():
        ratio = inertia(frames, codebook) / inertia(frames, theirs[k][1])
        yield Row("kmeans", f"inertia at {k} over faiss's", ratio, "", aim=1)
    for k, codebook in codebooks.items():
        spent = min(seconds(bench.device, units_of, frames, codebook) for _ in range(3))
        reached = bench.share(2 * len(frames) * k * frames.shape[1] / 1e9, spent, "fp32")
        aim = 0.7 if k >= 512 else None
        what = f"units at {k}"
        yield Row("kmeans", what, len(frames) / spent, "frames/s", of_card=reached, aim_of_card=aim)
    clips = frames.cpu().numpy().reshape(-1, 100, frames.shape[1])
    store(Path("frames.h5"), clips, frames.shape[1], [100] * len(clips))
    with Embeddings(Path("frames.h5")) as file:
        stream = nearest.assign(file, -3, codebooks, str(frames.device))
        spent = seconds(bench.device, list, stream)
    whole = spent * 13e6 / len(frames)
    yield Row("kmeans", "units of 13,000,000 frames from HDF5, projected", whole, "s", aim=60)


def mixture(bench: Bench, count: int, width: int = 768) -> torch.Tensor:
    """Frames of 3,000 Gaussians on the device."""
    generator = torch.Generator(bench.device).manual_seed(0)
    random: dict[str, Any] = {"device": bench.device, "generator": generator}
    centres = torch.randn(3000, width, **random)
    frames = torch.randn(count, width, **random).mul_(0.7)
    for part in frames.split(65_536):
        part.add_(centres[torch.randint(0, 3000, (len(part),), **random)])
    return frames


def units_of(frames: torch.Tensor, codebook: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared distances and units, by faiss."""
    if frames.is_cuda:
        return nearest.nearest_on_gpu(frames, torch.from_numpy(codebook).to(frames.device))
    distances, units = nearest.nearest(frames.numpy(), codebook)
    return torch.from_numpy(distances), torch.from_numpy(units)


def inertia(frames: torch.Tensor, codebook: Any) -> float:
    """Per frame."""
    return float(units_of(frames, codebook)[0].mean(dtype=torch.float64))


def by_faiss(bench: Bench, frames: torch.Tensor, k: int, iterations: int) -> tuple[float, Any]:
    """Seconds of faiss's own k-means with its defaults, and its codebook."""
    host = frames.cpu().numpy()
    on_gpu = bench.device.type == "cuda"
    peer = faiss.Kmeans(host.shape[1], k, niter=iterations, seed=1, gpu=on_gpu)
    return seconds(bench.device, peer.train, host), np.asarray(peer.centroids)
