"""Our k-means against its peers, in one run: CPU seconds, memory and inertia, as ratios.

Peers: faiss.Kmeans with its defaults at 20 iterations, a codebook per scale, and scikit-learn's
MiniBatchKMeans as fairseq's `learn_kmeans` sets it. Inertia is per frame, over all frames. Each fit
runs in a process of its own, so that its peak memory is its own.

    python -m benchmarks.cluster --frames 100000
    python -m benchmarks.cluster ../shared/corpora/ravdess ../shared/corpora/emodb \\
        --scales 64 --scales 512 --scales 4096
    python -m benchmarks.cluster --array frames.npy --scales 64 --scales 512 --scales 4096
    python -m benchmarks.cluster --frames 1000000 --scales 64 --scales 512 --scales 4096
"""

import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from pipeline.stage import set_threads

set_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

import faiss  # noqa: E402
from sklearn.cluster import MiniBatchKMeans  # noqa: E402

from pipeline import clusters  # noqa: E402
from pipeline.nearest import BLOCK_FRAMES, Floats, nearest  # noqa: E402


@dataclass(frozen=True)
class Job:
    """One fit: on the array in ``path``; ``sample`` and ``restarts`` concern ours and fairseq's."""

    path: Path
    scales: tuple[int, ...]
    seed: int
    sample: int
    restarts: int


@dataclass(frozen=True)
class Outcome:
    """What a fit took, and its codebooks."""

    cpu_s: float
    peak_mib: float
    codebooks: dict[int, Floats]


def ours(job: Job) -> dict[int, Floats]:
    """`clusters.fit` on a sample drawn from the file."""
    frames = np.load(job.path, mmap_mode="r")
    rows = np.random.default_rng(job.seed).permutation(len(frames))[: job.sample]
    sample = np.ascontiguousarray(frames[np.sort(rows)], np.float32)
    return clusters.fit(sample, job.scales, 20, job.seed)


def faiss_default(job: Job) -> dict[int, Floats]:
    """faiss.Kmeans as it comes, with 20 iterations."""
    frames = np.load(job.path).astype(np.float32, copy=False)
    (k,) = job.scales
    kmeans = faiss.Kmeans(frames.shape[1], k, niter=20, seed=job.seed)
    kmeans.train(frames)
    centroids: Floats = np.asarray(kmeans.centroids)
    return {k: centroids}


def fairseq(job: Job) -> dict[int, Floats]:
    """MiniBatchKMeans with the settings of fairseq's ``learn_kmeans.py``."""
    (k,) = job.scales
    model = MiniBatchKMeans(
        k,
        init="k-means++",
        max_iter=100,
        batch_size=10_000,
        tol=0.0,
        max_no_improvement=100,
        n_init=job.restarts,
        reassignment_ratio=0.0,
        random_state=job.seed,
    )
    model.fit(np.load(job.path).astype(np.float32, copy=False))
    return {k: model.cluster_centers_.astype(np.float32)}


def measured(fit: Callable[[Job], dict[int, Floats]], job: Job) -> Outcome:
    """Run a fit in this process."""
    start = time.process_time()
    codebooks = fit(job)
    spent = time.process_time() - start
    return Outcome(spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, codebooks)


def alone(fit: Callable[[Job], dict[int, Floats]], job: Job) -> Outcome:
    """Run a fit in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measured, fit, job).result()


def inertia(path: Path, centroids: Floats) -> float:
    """Mean squared distance of all frames to their nearest centroid."""
    frames = np.load(path, mmap_mode="r")
    blocks = [
        nearest(np.asarray(frames[i : i + BLOCK_FRAMES], np.float32), centroids)[0]
        for i in range(0, len(frames), BLOCK_FRAMES)
    ]
    return float(sum(block.sum(dtype=np.float64) for block in blocks) / len(frames))


def speech(path: Path, folders: Sequence[Path]) -> None:
    """Log mel energies of every FLAC file, less the clip's mean, 12 neighbours side by side: 768.

    As wide as HuBERT base's frames, of real speech, and without published weights.
    """
    import librosa
    import soundfile

    made = []
    for file in sorted(file for folder in folders for file in folder.rglob("*.flac")):
        samples, rate_hz = soundfile.read(file, dtype="float32")
        power = librosa.feature.melspectrogram(
            y=samples, sr=rate_hz, n_fft=400, hop_length=160, n_mels=64, center=False
        )
        energies = np.log(power + 1e-6).T
        energies -= energies.mean(0)
        stacked = np.lib.stride_tricks.sliding_window_view(energies, 12, axis=0)[::2]
        made.append(stacked.reshape(len(stacked), -1).astype(np.float16))
    np.save(path, np.concatenate(made))


def synthesise(path: Path, frames: int, width: int) -> None:
    """A mixture of 2,000 Gaussians of unequal weight and spread around 40 centres."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((40, width))[rng.integers(40, size=2000)]
    centres = (centres + 0.7 * rng.standard_normal((2000, width))).astype(np.float32)
    weights, spreads = rng.dirichlet(np.full(2000, 0.5)), rng.uniform(0.3, 0.8, 2000)
    made = np.lib.format.open_memmap(path, "w+", np.float32, (frames, width))
    for start in range(0, frames, BLOCK_FRAMES):
        part = rng.choice(2000, min(BLOCK_FRAMES, frames - start), p=weights)
        noise = rng.standard_normal((len(part), width), np.float32)
        made[start : start + len(part)] = centres[part] + spreads[part, None] * noise


def rate(width: int, k: int) -> tuple[float, float]:
    """GFLOP/s of assigning frames to ``k`` centroids, and of NumPy's product of that shape."""
    rng = np.random.default_rng(0)
    frames, centroids = (rng.random((n, width), np.float32) for n in (BLOCK_FRAMES, k))
    spent = []
    for work in (lambda: nearest(frames, centroids), lambda: frames @ centroids.T):
        times = []
        for _ in range(5):
            start = time.process_time()
            work()
            times.append(time.process_time() - start)
        spent.append(2 * BLOCK_FRAMES * k * width / min(times) / 1e9)
    return spent[0], spent[1]


def compare(path: Path, job: Job, peers: dict[str, list[int]]) -> dict[tuple[str, int], float]:
    """Run everything with one seed and print it; CPU seconds by method and scale."""
    mine = alone(ours, job)
    spent = {("ours", 0): mine.cpu_s}
    print(f"seed {job.seed}: ours, all scales: {mine.cpu_s:.1f} CPU s, {mine.peak_mib:.0f} MiB")
    for k in job.scales:
        own = inertia(path, mine.codebooks[k])
        print(f"  k={k}: ours {own:.5g}")
        for name, scales in peers.items():
            if k in scales:
                fit = faiss_default if name == "faiss" else fairseq
                peer = alone(fit, Job(path, (k,), job.seed, job.sample, job.restarts))
                theirs = inertia(path, peer.codebooks[k])
                spent[name, k] = peer.cpu_s
                print(
                    f"    {name} {theirs:.5g} in {peer.cpu_s:.1f} CPU s, {peer.peak_mib:.0f} MiB; "
                    f"inertia ours/{name} {own / theirs:.4f}",
                    flush=True,
                )
    return spent


def main(  # noqa: PLR0913, PLR0917
    corpora: Annotated[list[Path] | None, typer.Argument(help="Folders of 16 kHz FLAC.")] = None,
    array: Annotated[Path | None, typer.Option(help="Frames as .npy, (frames, width).")] = None,
    frames: Annotated[int, typer.Option(help="Otherwise: how many to synthesise.")] = 60_000,
    width: Annotated[int, typer.Option(help="And how wide.")] = 768,
    scales: Annotated[list[int] | None, typer.Option(help="Ascending.")] = None,
    fairseq_scales: Annotated[list[int] | None, typer.Option(help="Of MiniBatchKMeans.")] = None,
    fairseq_restarts: Annotated[int, typer.Option(help="Its n_init; fairseq's is 20.")] = 20,
    sample: Annotated[int, typer.Option(help="Frames that ours is fitted on.")] = 1_000_000,
    seeds: Annotated[int, typer.Option(help="How many seeds, from 1.")] = 1,
) -> None:
    """Compare and print."""
    print(f"{os.getloadavg()[0]:.1f} load, {os.environ['OMP_NUM_THREADS']} threads")
    sizes = tuple(scales or (64, 512))
    with tempfile.TemporaryDirectory() as folder:
        path = array or Path(folder) / "frames.npy"
        if corpora:
            speech(path, corpora)
        elif array is None:
            synthesise(path, frames, width)
        shape = np.load(path, mmap_mode="r").shape
        print(f"{shape[0]} frames of width {shape[1]}")
        for k in sizes:
            assigned, product = rate(shape[1], k)
            print(f"assignment at k={k}: {assigned:.0f} GFLOP/s, {assigned / product:.0%} of NumPy")
        peers = {"faiss": list(sizes), "fairseq": fairseq_scales or [sizes[0]]}
        for seed in range(1, seeds + 1):
            spent = compare(path, Job(path, sizes, seed, sample, fairseq_restarts), peers)
            for name in peers:
                theirs = sum(cpu_s for (who, _), cpu_s in spent.items() if who == name)
                print(f"  CPU of ours, all scales, over {name}'s: {spent['ours', 0] / theirs:.3f}")


if __name__ == "__main__":
    typer.run(main)
