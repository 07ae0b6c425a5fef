"""k-means of all frames at once, in torch on a GPU: codebooks as `kmeans` fits them on a CPU.

A GPU multiplies matrices as fast as it is fed, and idles where it is asked for one number at a
time. So no frame is spared a centroid here, each scale is fitted on the whole sample, and seeds are
drawn many in a step. Units are later assigned exactly, in fp32, by `nearest`.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline.units import kmeans
from pipeline.units.nearest import Floats
from pipeline.work.device import select, tf32
from pipeline.work.seeds import derive

# What a step draws, as a share of the seeds there are, and how much of what a seed gains alone must
# be left to it beside those before it in its step. On mixtures of 400 Gaussians, tight and wide,
# any step from one seed to four times those there are led to one inertia within 1 %.
STEP, LEAST_LEFT = 1 / 2, 0.5
# Distances that exist at a time (half a GB), and the frames they are of at most.
BLOCK_DISTANCES, BLOCK_FRAMES = 2**27, 2**16


def fit(frames: Tensor, scales: Sequence[int], iterations: int, seed: int) -> dict[int, Floats]:
    """Codebooks of the ascending ``scales``, (centroids, width) each.

    ``frames``, fp32 (frames, width), are centred in place: rounding is then relative to their
    spread, however far out they lie.

    Raises:
        PipelineError: Fewer than 10 frames per centroid at the finest scale.
    """
    kmeans.require_enough(len(frames), scales[-1])
    select(str(frames.device))
    middle = frames.mean(0, dtype=torch.float64).float()
    frames -= middle
    with tf32():
        found = {scale: _fit(frames, scale, iterations, seed) for scale in scales}
    return {scale: (centroids + middle).cpu().numpy() for scale, centroids in found.items()}


def _fit(frames: Tensor, scale: int, iterations: int, seed: int) -> Tensor:
    few = frames[:: max(1, len(frames) // kmeans.seeding_frames(scale))].contiguous()
    return _lloyd(frames, _seeds(few, scale, seed), iterations)


def _seeds(frames: Tensor, k: int, seed: int) -> Tensor:
    """Greedy k-means++ (Arthur and Vassilvitskii 2007), several seeds a step.

    Each seed of a step is the best of a few candidates, as if it were drawn alone; those that then
    turn out to do what another of the step does are left out. Candidates are the frames with the
    least of exponential times at the rates of their squared distances (Efraimidis and Spirakis
    2006): drawn without replacement, and without a sum over frames, whose order torch leaves open.
    """
    rng = np.random.default_rng(derive(seed, "seeds", k))
    tries = 2 + int(np.log(k))
    seeds = frames[rng.integers(len(frames), size=1)]
    left, _ = _nearest(frames, seeds)
    while len(seeds) < k:
        count = min(max(1, int(len(seeds) * STEP)), k - len(seeds))
        times = torch.from_numpy(rng.standard_exponential(len(frames), np.float32)).to(left.device)
        drawn = (times / left).topk(count * tries, largest=False).indices
        alone = _gains(frames, left, frames[drawn], together=False).view(tries, count).max(0)
        chosen = frames[drawn.view(tries, count).gather(0, alone.indices[None])[0]]
        kept = _gains(frames, left, chosen, together=True) >= LEAST_LEFT * alone.values
        kept[0] = True  # whatever rounding says of frames that are all alike
        chosen = chosen[kept]
        left = torch.minimum(left, _nearest(frames, chosen)[0])
        seeds = torch.cat([seeds, chosen])
    return seeds


def _gains(frames: Tensor, left: Tensor, seeds: Tensor, together: bool) -> Tensor:
    """By how much each seed more would lower the inertia, (seeds,) in fp64.

    Each without the others, or ``together``: after those before it.
    """
    gains = seeds.new_zeros(len(seeds), dtype=torch.float64)
    for rows, distances in _distances(frames, seeds):
        before, after = left[rows, None], distances
        if together:
            reached = torch.cat([before, distances], 1).cummin(1).values
            before, after = reached[:, :-1], reached[:, 1:]
        gains += (before - after).clamp_min_(0).sum(0, dtype=torch.float64)
    return gains


def _nearest(frames: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance to the nearest centroid and that centroid's number, (frames,) each."""
    found = [distances.min(1) for _, distances in _distances(frames, centroids)]
    return torch.cat([one.values for one in found]), torch.cat([one.indices for one in found])


def _lloyd(frames: Tensor, start: Tensor, iterations: int) -> Tensor:
    """Lloyd iterations, over-relaxed as those of `kmeans`; means come last."""
    centroids = means = start
    for _ in range(iterations):
        distances, units = _nearest(frames, centroids)
        means, empty = _means(frames, units, distances, len(start))
        overstep = torch.where(empty, 0.0, float(kmeans.OVERSTEP))[:, None]
        centroids = means + overstep * (means - centroids)
    return means


def _means(frames: Tensor, units: Tensor, distances: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The mean of each unit's frames, summed in fp64, and which units are empty, (k,).

    An empty unit moves to a frame far from its centroid.
    """
    sums = frames.new_zeros(k, frames.shape[1], dtype=torch.float64)
    for part, own in zip(frames.split(BLOCK_FRAMES), units.split(BLOCK_FRAMES), strict=True):
        sums.index_add_(0, own, part.double())
    sizes = torch.bincount(units, minlength=k)
    means, empty = (sums / sizes.clamp_min(1)[:, None]).float(), sizes == 0
    farthest = distances.topk(min(k, len(frames))).indices
    places = empty.cumsum(0)[empty] - 1
    means[empty] = frames[farthest[places]]
    return means, empty


def _distances(frames: Tensor, others: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Squared distances of every frame to every other, (frames, others), in blocks of frames."""
    squares = others.square().sum(1)
    step = min(BLOCK_FRAMES, max(1, BLOCK_DISTANCES // len(others)))
    product = split_product if frames.is_cuda else torch.matmul
    for start in range(0, len(frames), step):
        part = frames[start : start + step]
        found = product(part, others.T).mul_(-2)
        found += squares
        found += part.square().sum(1, keepdim=True)
        # Above 0, so that any frame may be drawn.
        found.clamp_min_(torch.finfo(torch.float32).tiny)
        yield slice(start, start + len(part)), found


def split_product(a: Tensor, b: Tensor) -> Tensor:
    """The product of fp32 matrices by TF32, to about 1e-6: three products laid end to end.

    TF32 keeps 10 bits of a mantissa. What those leave is multiplied too, except with itself
    (Ootomo and Yokota 2022). On an H200 a third of the rate of TF32 is 2.7 times that of fp32.
    """
    (high, low), (other_high, other_low) = (_split(values) for values in (a, b))
    return torch.cat([high, high, low], 1) @ torch.cat([other_high, other_low, other_high])


def _split(values: Tensor) -> tuple[Tensor, Tensor]:
    """What TF32 keeps of fp32 values, and what it leaves."""
    high = (values.contiguous().view(torch.int32) & -(2**13)).view(torch.float32)
    return high, values - high
