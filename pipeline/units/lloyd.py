"""k-means of all frames at once, in torch on a GPU: codebooks as `kmeans` fits them on a CPU.

A GPU multiplies matrices as fast as it is fed, and idles where it is asked for one number at a
time. So no frame is spared a centroid here, each scale is fitted on the whole sample, and seeds are
drawn many in a step. Units are later assigned exactly, in fp32, by `nearest`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
# Frames that one thread of a GPU adds up, however many a unit has.
PIECE = 256
# Bytes of a GPU that all else takes, beside frames split for TF32.
SPARE = 2**32
# What is multiplied of values that TF32 splits in high and low (0 and 1): of frames, of others.
OF_FRAMES, OF_OTHERS = (0, 0, 1), (0, 1, 0)


@dataclass(frozen=True)
class Points:
    """Frames, their squared lengths, and themselves split for TF32, where a GPU holds that."""

    frames: Tensor
    squares: Tensor
    wide: Tensor | None

    @classmethod
    def of(cls, frames: Tensor) -> "Points":
        """Split once what every iteration multiplies."""
        parts = frames.split(BLOCK_FRAMES)
        squares = torch.cat([part.square().sum(1) for part in parts])
        if not _holds_split(frames):
            return cls(frames, squares, None)
        wide = frames.new_empty(len(frames), 3 * frames.shape[1])
        for part, own in zip(parts, wide.split(BLOCK_FRAMES), strict=True):
            own.copy_(split(part, OF_FRAMES))
        return cls(frames, squares, wide)

    def factor(self, rows: slice) -> Tensor:
        """What a product takes of some frames."""
        if self.wide is not None:
            return self.wide[rows]
        part = self.frames[rows]
        return split(part, OF_FRAMES) if part.is_cuda else part


def _holds_split(frames: Tensor) -> bool:
    if not frames.is_cuda:
        return False
    free, _ = torch.cuda.mem_get_info(frames.device)
    idle = torch.cuda.memory_reserved(frames.device) - torch.cuda.memory_allocated(frames.device)
    return 3 * frames.nbytes + SPARE <= free + idle


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
        points = Points.of(frames)
        found = {scale: _fit(points, scale, iterations, seed) for scale in scales}
    return {scale: (centroids + middle).cpu().numpy() for scale, centroids in found.items()}


def _fit(points: Points, scale: int, iterations: int, seed: int) -> Tensor:
    step = max(1, len(points.frames) // kmeans.seeding_frames(scale))
    few = points if step == 1 else Points.of(points.frames[::step].contiguous())
    return _lloyd(points, _seeds(few, scale, seed), iterations)


def _seeds(points: Points, k: int, seed: int) -> Tensor:
    """Greedy k-means++ (Arthur and Vassilvitskii 2007), several seeds a step.

    Each seed of a step is the best of a few candidates, as if it were drawn alone; those that then
    turn out to do what another of the step does are left out. Candidates are the frames with the
    least of exponential times at the rates of their squared distances (Efraimidis and Spirakis
    2006): drawn without replacement, and without a sum over frames, whose order torch leaves open.
    """
    frames = points.frames
    random = torch.Generator(frames.device).manual_seed(derive(seed, "seeds", k))
    tries = 2 + int(np.log(k))
    seeds = frames[torch.randint(len(frames), (1,), generator=random, device=frames.device)]
    left, _ = _nearest(points, seeds)
    while len(seeds) < k:
        count = min(max(1, int(len(seeds) * STEP)), k - len(seeds))
        times = torch.empty_like(left).exponential_(generator=random)
        drawn = (times / left).topk(count * tries, largest=False).indices
        alone = _gains(points, left, frames[drawn], together=False).view(tries, count).max(0)
        chosen = frames[drawn.view(tries, count).gather(0, alone.indices[None])[0]]
        kept = _gains(points, left, chosen, together=True) >= LEAST_LEFT * alone.values
        kept[0] = True  # whatever rounding says of frames that are all alike
        chosen = chosen[kept]
        left = torch.minimum(left, _nearest(points, chosen)[0])
        seeds = torch.cat([seeds, chosen])
    return seeds


def _gains(points: Points, left: Tensor, seeds: Tensor, together: bool) -> Tensor:
    """By how much each seed more would lower the inertia, (seeds,) in fp64.

    Each without the others, or ``together``: after those before it.
    """
    gains = seeds.new_zeros(len(seeds), dtype=torch.float64)
    reached = (points.squares - left)[:, None]
    for rows, near in _nearness(points, seeds):
        if together:
            gained = torch.cat([reached[rows], near], 1).cummax(1).values.diff(dim=1)
        else:
            gained = near.sub_(reached[rows]).clamp_min_(0)
        gains += gained.sum(0, dtype=torch.float64)
    return gains


def _nearest(points: Points, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance to the nearest centroid and that centroid's number, (frames,) each."""
    found = [near.max(1) for _, near in _nearness(points, centroids)]
    distances = points.squares - torch.cat([one.values for one in found])
    # Above 0, so that any frame may be drawn.
    distances.clamp_min_(torch.finfo(torch.float32).tiny)
    return distances, torch.cat([one.indices for one in found])


def _lloyd(points: Points, start: Tensor, iterations: int) -> Tensor:
    """Lloyd iterations, over-relaxed as those of `kmeans`; means come last.

    The host asks for no number meanwhile: it would wait for the GPU, and the GPU then for it.
    """
    centroids = means = start
    for _ in range(iterations):
        distances, units = _nearest(points, centroids)
        means, empty = _means(points.frames, units, distances, len(start))
        overstep = torch.where(empty, 0.0, float(kmeans.OVERSTEP))[:, None]
        centroids = means + overstep * (means - centroids)
    return means


def _means(frames: Tensor, units: Tensor, distances: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The mean of each unit's frames, summed in fp64, and which units are empty, (k,).

    An empty unit moves to a frame far from its centroid.
    """
    sums = frames.new_zeros(k, frames.shape[1], dtype=torch.float64)
    sizes = units.new_zeros(k)
    for part, own in zip(frames.split(BLOCK_FRAMES), units.split(BLOCK_FRAMES), strict=True):
        more, members = _sums(part, own, k)
        sums += more
        sizes += members
    means, empty = (sums / sizes.clamp_min(1)[:, None]).float(), sizes == 0
    farthest = distances.topk(min(k, len(frames))).indices
    moved = frames[farthest[(empty.cumsum(0) - 1).clamp(0, len(farthest) - 1)]]
    return torch.where(empty[:, None], moved, means), empty


def _sums(frames: Tensor, units: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The sum of each unit's frames, (k, width) in fp64, and their number, (k,).

    Sorted by unit and added up in order, in pieces of bounded length and then piece by piece: no
    two threads add to one number, so that the same frames give the same bytes.
    """
    members = units.sort(stable=True)
    starts = torch.searchsorted(members.values, torch.arange(k + 1, device=units.device))
    pieces = torch.arange(0, len(units), PIECE, device=units.device)
    cuts = torch.cat([starts, pieces]).sort().values
    summed = _segments(frames[members.indices].double(), cuts.diff())
    return _segments(summed, torch.searchsorted(cuts, starts).diff()), starts.diff()


def _segments(rows: Tensor, lengths: Tensor) -> Tensor:
    """Sums of so many rows each; unchecked, since a check would wait for the GPU."""
    return torch.segment_reduce(rows, "sum", lengths=lengths, unsafe=True, initial=0)


def _nearness(points: Points, others: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """What is left of a frame's squared length beside its squared distance to each other.

    Twice their product less the other's squared length, (frames, others), in blocks of frames: one
    product gives it, and the nearest has the most.
    """
    squares, twice = others.square().sum(1), 2 * others
    factor = (split(twice, OF_OTHERS) if twice.is_cuda else twice).T
    step = min(BLOCK_FRAMES, max(1, BLOCK_DISTANCES // len(others)))
    for start in range(0, len(points.frames), step):
        rows = slice(start, min(start + step, len(points.frames)))
        yield rows, torch.addmm(-squares, points.factor(rows), factor)


def split(values: Tensor, parts: Sequence[int]) -> Tensor:
    """Parts of fp32 values, (rows, width each), whose product by TF32 is exact to about 1e-6.

    TF32 keeps 10 bits of a mantissa. What those leave is multiplied too, except with itself
    (Ootomo and Yokota 2022): three products laid end to end. On an H200 a third of the rate of
    TF32 is 2.7 times that of fp32.
    """
    high = (values.contiguous().view(torch.int32) & -(2**13)).view(torch.float32)
    return torch.cat([(high, values - high)[part] for part in parts], 1)
