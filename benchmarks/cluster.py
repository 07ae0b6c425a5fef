"""Our k-means against its peers, in one run: seconds, peak memory and inertia, and their ratios.

Peers: faiss.Kmeans with its defaults at 20 iterations, a codebook per scale, and scikit-learn's
MiniBatchKMeans as fairseq's `learn_kmeans` sets it, as far as ``--limit-s`` lets it finish. All
read the same embeddings file, in float16. Ours is timed up to each scale, since a finer one needs
those before it. Inertia is per frame, over all frames. Each fit is a process of its own, so that
its peak memory is its own. Figures are medians over seeds; seconds are CPU seconds. A GPU is
measured by `benchmarks.gpu`.

    python -m benchmarks.cluster --frames 100000
    python -m benchmarks.cluster data/raw/ravdess data/raw/emodb --every 2 \\
        --scales 64 --scales 512 --scales 4096
    python -m benchmarks.cluster --frames 1000000 --scales 64 --scales 512 --scales 4096 --seeds 1
    python -m benchmarks.cluster --embeddings artifacts/frames/0.h5 --scales 16 --scales 64
"""

import math
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer

from pipeline.ground.stage import set_threads

set_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

from sklearn.cluster import MiniBatchKMeans  # noqa: E402

from benchmarks.frames import CLIP_FRAMES, everything, speech, store, synthesise  # noqa: E402
from pipeline.embeddings.reader import Embeddings  # noqa: E402
from pipeline.units import kmeans, sampling  # noqa: E402
from pipeline.units.nearest import BLOCK_FRAMES, Floats, assign, nearest  # noqa: E402


@dataclass(frozen=True)
class Job:
    """One fit on the frames in ``path``; ``sample`` concerns ours, ``restarts`` fairseq's.

    A peer that takes more than ``limit_s`` CPU seconds is stopped; 0 is no limit.
    """

    path: Path
    scales: tuple[int, ...]
    seed: int
    sample: int
    restarts: int
    limit_s: float


@dataclass(frozen=True)
class Outcome:
    """What a fit took, and its codebooks; ``inertia`` of the finest, once it is known."""

    seconds: float
    peak_mib: float
    codebooks: dict[int, Floats]
    inertia: float = math.nan


def ours(job: Job) -> dict[int, Floats]:
    """What the stage `cluster` does: draw a sample from the file, fit every scale."""
    total = min(job.sample, kmeans.needed(job.scales))
    with Embeddings(job.path) as frames:
        sample = sampling.draw(frames, frames.layers[0], set(frames.clips), total, job.seed)
    return kmeans.fit(sample, job.scales, 20, job.seed)


def faiss_default(job: Job) -> dict[int, Floats]:
    """faiss.Kmeans as it comes, with 20 iterations; its BLAS knows the CPU, as `nearest` has it."""
    import faiss

    frames, k = everything(job.path), job.scales[-1]
    kmeans = faiss.Kmeans(frames.shape[1], k, niter=20, seed=job.seed)
    kmeans.train(frames)
    centroids: Floats = np.asarray(kmeans.centroids)
    return {k: centroids}


def fairseq(job: Job) -> dict[int, Floats]:
    """MiniBatchKMeans with the settings of fairseq's ``learn_kmeans.py``."""
    k = job.scales[-1]
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
    model.fit(everything(job.path))
    return {k: model.cluster_centers_.astype(np.float32)}


PEERS = {"faiss": faiss_default, "fairseq": fairseq}


def measured(fit: Callable[[Job], dict[int, Floats]], job: Job) -> Outcome:
    """Run a fit in this process, which the system stops at the limit."""
    if job.limit_s:
        end_s = math.ceil(time.process_time() + job.limit_s)
        resource.setrlimit(resource.RLIMIT_CPU, (end_s, end_s))
    start = time.process_time()
    codebooks = fit(job)
    spent = time.process_time() - start
    return Outcome(spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, codebooks)


def alone(fit: Callable[[Job], dict[int, Floats]], job: Job) -> Outcome | None:
    """Run a fit in a fresh process; None where it did not finish."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(measured, fit, job).result()
        except BrokenProcessPool:
            return None


def inertias(path: Path, codebooks: Mapping[int, Floats]) -> dict[int, float]:
    """Mean squared distance of all frames to their nearest centroid, per scale, in one stream."""
    sums = dict.fromkeys(codebooks, 0.0)
    with Embeddings(path) as frames:
        for _, found in assign(frames, frames.layers[0], codebooks):
            for scale, (distances, _) in found.items():
                sums[scale] += float(distances.sum(dtype=np.float64))
        return {scale: total / int(frames.offsets[-1]) for scale, total in sums.items()}


def seconds(work: Callable[[], Any]) -> float:
    """The least of five runs."""
    times = []
    for _ in range(5):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def rates(width: int, scales: Sequence[int]) -> dict[int, float]:
    """Print what assignment reaches of NumPy's product of the shape; seconds of it per frame."""
    rng, per_frame = np.random.default_rng(0), {}
    for k in scales:
        frames, centroids = (rng.random((n, width), np.float32) for n in (BLOCK_FRAMES, k))
        assigned = seconds(partial(nearest, frames, centroids))
        product = seconds(partial(np.matmul, frames, centroids.T))
        rate = 2 * BLOCK_FRAMES * k * width / assigned / 1e9
        print(f"assignment at k={k}: {rate:.0f} GFLOP/s, {product / assigned:.0%} of NumPy's")
        per_frame[k] = product / BLOCK_FRAMES
    return per_frame


def fit_ours(job: Job, product_s: Mapping[int, float]) -> dict[int, Outcome]:
    """Ours up to each scale, and their inertias in one stream over the file, which is timed."""
    found = {}
    for number, k in enumerate(job.scales, 1):
        done = alone(ours, replace(job, scales=job.scales[:number], limit_s=0))
        if done is None:
            raise SystemExit("ours was stopped: out of memory?")
        found[k] = done
    start = time.process_time()
    per_frame = inertias(job.path, found[job.scales[-1]].codebooks)
    spent = time.process_time() - start
    with Embeddings(job.path) as frames:
        bound = int(frames.offsets[-1]) * sum(product_s.values())
    print(
        f"seed {job.seed}: units of all frames at all scales, read from the file, in {spent:.1f} "
        f"s: {bound / spent:.0%} of the rate of NumPy's products",
        flush=True,
    )
    return {k: replace(done, inertia=per_frame[k]) for k, done in found.items()}


def fit_peer(name: str, job: Job) -> Outcome | None:
    """One peer at one scale, and its inertia; None where it did not finish."""
    done = alone(PEERS[name], job)
    if done is None:
        print(f"  {name} at k={job.scales[0]}: not finished in {job.limit_s:g} CPU s", flush=True)
        return None
    return replace(done, inertia=inertias(job.path, done.codebooks)[job.scales[0]])


def summarise(
    runs: Sequence[Mapping[int, Outcome]], peer: str, theirs: Sequence[Mapping[int, Outcome]]
) -> None:
    """Print medians over seeds of ours and of a peer, and their ratios where it finished."""
    peer_s = []
    for k in runs[0]:
        print(f"k={k}: ours {_shown([run[k] for run in runs])}")
        pairs = [(run[k], other[k]) for run, other in zip(runs, theirs, strict=True) if k in other]
        if not pairs:
            print(f"  {peer} not finished")
            continue
        finished = [other for _, other in pairs]
        time_ratio = median(mine.seconds / other.seconds for mine, other in pairs)
        quality = median(mine.inertia / other.inertia for mine, other in pairs)
        print(f"  {peer} {_shown(finished)}")
        print(f"  ours/{peer}: time {time_ratio:.3f}, inertia {quality:.4f}")
        peer_s.append(median(other.seconds for other in finished))
    if len(peer_s) == len(runs[0]):
        own_s = median(run[max(run)].seconds for run in runs)
        print(f"all scales: ours/{peer}: time {own_s / sum(peer_s):.3f}")


def _shown(found: Sequence[Outcome]) -> str:
    spent, peak = (median(getattr(o, name) for o in found) for name in ("seconds", "peak_mib"))
    return f"{spent:.1f} s, {peak:.0f} MiB, inertia {median(o.inertia for o in found):.5g}"


def main(  # noqa: PLR0913, PLR0917
    corpora: Annotated[list[Path] | None, typer.Argument(help="Folders of 16 kHz FLAC.")] = None,
    every: Annotated[int, typer.Option(help="Take one file in this many.")] = 1,
    embeddings: Annotated[Path | None, typer.Option(help="An embeddings file instead.")] = None,
    frames: Annotated[int, typer.Option(help="Otherwise: how many to synthesise.")] = 60_000,
    width: Annotated[int, typer.Option(help="And how wide.")] = 768,
    scales: Annotated[list[int] | None, typer.Option(help="Ascending.")] = None,
    peers: Annotated[list[str] | None, typer.Option(help="faiss, fairseq; both.")] = None,
    fairseq_restarts: Annotated[int, typer.Option(help="Its n_init; fairseq's is 20.")] = 20,
    limit_s: Annotated[float, typer.Option(help="CPU seconds for a peer's fit; 0: none.")] = 0,
    sample: Annotated[int, typer.Option(help="Frames that ours is fitted on.")] = 1_000_000,
    seeds: Annotated[int, typer.Option(help="How many seeds, from 1.")] = 3,
) -> None:
    """Compare and print."""
    print(f"{os.getloadavg()[0]:.1f} load, {os.environ['OMP_NUM_THREADS']} threads")
    sizes = tuple(scales or (64, 512))
    with tempfile.TemporaryDirectory() as folder:
        path = embeddings or Path(folder) / "frames.h5"
        if corpora:
            clips = speech(corpora, every)
            store(path, clips, clips[0].shape[1], [len(clip) for clip in clips])
            del clips
        elif embeddings is None:
            lengths = [CLIP_FRAMES] * (frames // CLIP_FRAMES)
            store(path, synthesise(lengths, width), width, lengths)
        with Embeddings(path) as file:
            width = file.width
            print(f"{file.offsets[-1]} frames of width {width}")
        product_s = rates(width, sizes)
        names = peers or list(PEERS)
        own: list[dict[int, Outcome]] = []
        theirs: dict[str, list[dict[int, Outcome]]] = {name: [] for name in names}
        pending = {(name, k) for name in names for k in sizes}
        for seed in range(1, seeds + 1):
            job = Job(path, sizes, seed, sample, fairseq_restarts, limit_s)
            own.append(fit_ours(job, product_s))
            for name in names:
                made = {
                    k: fit_peer(name, replace(job, scales=(k,)))
                    for k in sizes
                    if (name, k) in pending
                }
                theirs[name].append({k: done for k, done in made.items() if done})
                # What did not finish once is not tried again.
                pending -= {(name, k) for k, done in made.items() if not done}
        for name in names:
            summarise(own, name, theirs[name])


if __name__ == "__main__":
    typer.run(main)
