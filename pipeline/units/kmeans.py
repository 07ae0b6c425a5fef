"""Multi-scale k-means of encoder frames on a CPU: the codebooks that make units of them.

One sample of training frames, balanced by clip, serves every scale. Scales are nested to save work,
and bind one another little: a finer scale is seeded within the cells of the coarser one, and its
Lloyd iterations compare a frame only with the centroids near its coarse cell (as in approximate
k-means: Philbin et al. 2007, Wang et al. 2012). Units are later assigned exactly, by `nearest`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from pipeline.ground.errors import PipelineError
from pipeline.ground.progress import say
from pipeline.units.nearest import Floats, Ints, nearest, nearest_few
from pipeline.work.seeds import derive

Sums = npt.NDArray[np.float64]

# Frames per centroid: an error below the first, a warning below the second (faiss's own threshold).
FEWEST, FEW = 10, 39
# What follows was measured on 82,852 log-mel frames of RAVDESS and EmoDB at 64 and 512 centroids.
# A scale is fitted on as many per centroid as faiss takes or more, and on no fewer than a floor:
# from 64 centroids on 256 each the inertia is 1 % above that on 1,024, from 512 on 128 each 0.5 %.
FRAMES_PER_CENTROID, LEAST_FRAMES = 256, 2**15
# Seeds need fewer: drawn from 64 per centroid, they lead to 0.1 % less inertia at 512 in four times
# the time of the draws. At 64 the floor costs nothing and brings 0.3 %.
SEEDING_FRAMES_PER_CENTROID, LEAST_SEEDING_FRAMES = 16, 2**13
# A centroid is seen from the cells nearest to it. Six lower the inertia by 0.4 % in 1.2 times the
# time of the fit.
NEAR_CELLS = 4
# How far a centroid goes beyond the mean. At 0.6 twelve iterations reach the inertia of twenty
# plain ones; at 0.9 the first overshoot, at 1.2 they diverge.
OVERSTEP = np.float32(0.7)
# Iterations end where one lowers the inertia by less: after nine or ten, half a percent above that
# of twenty.
LEAST_GAIN = 2e-3
# Scales are refined from 8 cells or more, and by 16 times at most: others are fitted in between.
COARSEST, LEAP = 8, 16


def fit(frames: Floats, scales: Sequence[int], iterations: int, seed: int) -> dict[int, Floats]:
    """Codebooks of the ascending ``scales``, (centroids, width) each.

    ``frames``, (frames, width), are reordered in place where a scale needs them all: a sorted copy
    would double the memory.

    Raises:
        PipelineError: Fewer than 10 frames per centroid at the finest scale.
    """
    require_enough(len(frames), scales[-1])
    codebooks: dict[int, Floats] = {}
    found = frames.mean(0, keepdims=True)
    for scale in _steps(scales):
        part = _part(frames, _needed(scale))
        cells = _sort_by_cell(part, found)
        start = _seeds(*_thinned(part, cells, seeding_frames(scale)), scale, seed)
        found = codebooks[scale] = _lloyd(part, cells, start, iterations)
    return {scale: codebooks[scale] for scale in scales}


def needed(scales: Sequence[int]) -> int:
    """How many frames `fit` makes use of; more would be memory for nothing."""
    return max(map(_needed, scales))


def seeding_frames(scale: int) -> int:
    """How many frames seeds are drawn from, about."""
    return max(SEEDING_FRAMES_PER_CENTROID * scale, LEAST_SEEDING_FRAMES)


def _needed(scale: int) -> int:
    return max(FRAMES_PER_CENTROID * scale, LEAST_FRAMES)


def _steps(scales: Sequence[int]) -> list[int]:
    """The scales, with others between where one is more than 16 times the one before."""
    steps = [COARSEST]
    for scale in scales:
        between = [scale]
        while between[0] > LEAP * steps[-1]:
            between.insert(0, between[0] // 8)
        steps += between
    return steps[1:]


def _part(frames: Floats, most: int) -> Floats:
    """Every so many-th frame, ``most`` and up to twice as many; uncopied where that is all."""
    step = max(1, len(frames) // most)
    return np.ascontiguousarray(frames[::step])


def require_enough(frames: int, scale: int) -> None:
    """Stop below 10 frames per centroid, where faiss would go on, and warn below 39.

    Raises:
        PipelineError: Too few frames; both numbers are named.
    """
    line = (
        f"params.yaml: cluster.scales has {scale} centroids, but there are {frames} frames to fit"
    )
    remedy = f"remove that scale, or raise cluster.sample or add clips to reach {FEW} per centroid"
    if frames < FEWEST * scale:
        raise PipelineError(f"{line}, expected at least {FEWEST} per centroid, {remedy}")
    if frames < FEW * scale:
        say(f"warning: {line}, {frames / scale:.0f} per centroid, {remedy}")


@dataclass(frozen=True)
class Cells:
    """Frames sorted by their cell of a coarser codebook; ``edges``, (cells + 1,), part them."""

    centroids: Floats
    edges: Ints

    def rows(self, cell: int) -> slice:
        """Where the frames of one cell are."""
        return slice(int(self.edges[cell]), int(self.edges[cell + 1]))


def _sort_by_cell(frames: Floats, centroids: Floats) -> Cells:
    """Reorder ``frames`` in place by nearest centroid."""
    if len(centroids) == 1:
        return Cells(centroids, np.array([0, len(frames)]))
    _, cells = nearest(frames, centroids)
    order = np.argsort(cells, kind="stable")
    for column in range(0, frames.shape[1], 64):
        part = frames[:, column : column + 64]
        part[:] = part[order]
    sizes = np.bincount(cells, minlength=len(centroids))
    return Cells(centroids, np.concatenate([[0], np.cumsum(sizes)]))


def _thinned(frames: Floats, cells: Cells, most: int) -> tuple[Floats, Cells]:
    """Every so many-th frame, about ``most`` in all, and where the cells' frames then are."""
    step = max(1, len(frames) // most)
    return frames[::step], Cells(cells.centroids, -(-cells.edges // step))


def _seeds(frames: Floats, cells: Cells, k: int, seed: int) -> Floats:
    """Greedy k-means++ (Arthur and Vassilvitskii 2007), local to the cells.

    The cell is drawn by the sum of its frames' squared distances to the nearest seed (those of a
    cell without one are as good as infinite), then a few frames in it likewise, of which the best
    becomes a seed. Distances change in that cell alone.
    """
    rng = np.random.default_rng(derive(seed, "seeds", k))
    tries = 2 + int(np.log(k))
    distances = np.full(len(frames), np.finfo(np.float32).max)
    left = np.diff(cells.edges) * float(np.finfo(np.float32).max)
    seeds = np.empty((k, frames.shape[1]), np.float32)
    for i in range(k):
        cell = int(_draw(left, rng.random(1))[0])
        rows = cells.rows(cell)
        own = frames[rows]
        chosen = own[_draw(distances[rows], rng.random(tries))]
        after = np.minimum(distances[rows, None], _squared_distances(own, chosen))
        sums = after.sum(0, dtype=np.float64)
        best = int(sums.argmin())
        seeds[i], distances[rows], left[cell] = chosen[best], after[:, best], sums[best]
    return seeds


def _draw(weights: npt.NDArray[np.floating[Any]], chances: npt.NDArray[np.float64]) -> Ints:
    """The rows that ``chances``, in [0, 1), draw in proportion to ``weights``."""
    reached = np.cumsum(weights, dtype=np.float64)
    rows: Ints = np.searchsorted(reached, chances * reached[-1], "right")
    return np.minimum(rows, len(weights) - 1)


def _squared_distances(frames: Floats, others: Floats) -> Floats:
    """Of every frame to every other, (frames, others); above 0, so that any may be drawn."""
    squares = np.einsum("fw,fw->f", frames, frames)[:, None] + (others**2).sum(1)
    found: Floats = np.maximum(squares - 2 * (frames @ others.T), np.finfo(np.float32).tiny)
    return found


def _lloyd(frames: Floats, cells: Cells, start: Floats, iterations: int) -> Floats:
    """Lloyd iterations in which a frame sees the centroids that have its cell among the nearest.

    They are over-relaxed: a centroid moves past the mean of its frames. For given units, any step
    of less than twice the way lowers the inertia (Salakhutdinov and Roweis 2003). Means come last.
    """
    units = np.full(len(frames), -1)
    distances = np.empty(len(frames), np.float32)
    sums = np.zeros(start.shape)
    centroids, means, inertia = start, start, np.inf
    for _ in range(iterations):
        before, inertia_before = units.copy(), inertia
        for cell, seen in enumerate(_visible(cells, centroids)):
            rows = cells.rows(cell)
            if rows.start < rows.stop:
                distances[rows], found = nearest(frames[rows], centroids[seen])
                units[rows] = seen[found]
        sums += _sums_gained(frames, before, units, len(start))
        sizes = np.bincount(units, minlength=len(start))
        means = _means(sums, sizes, frames, distances)
        inertia = distances.sum(dtype=np.float64)
        if inertia >= (1 - LEAST_GAIN) * inertia_before:
            break
        ahead: Floats = OVERSTEP * (means - centroids)
        ahead[sizes == 0] = 0
        centroids = means + ahead
    return means


def _visible(cells: Cells, centroids: Floats) -> list[Ints]:
    """Per cell the numbers of the centroids that have it among their nearest cells, ascending."""
    count = min(NEAR_CELLS, len(cells.centroids))
    _, near = nearest_few(centroids, cells.centroids, count)
    _, closest = nearest(cells.centroids, centroids)
    seen = [np.flatnonzero((near == cell).any(1)) for cell in range(len(cells.centroids))]
    return [own if len(own) else closest[cell : cell + 1] for cell, own in enumerate(seen)]


def _sums_gained(frames: Floats, before: Ints, after: Ints, k: int) -> Floats:
    """What the sums of the units' frames gain, (units, width); -1 is none. Few frames move."""
    moved = np.flatnonzero(before != after)
    left = moved[before[moved] >= 0]
    signs = np.repeat(np.array([1, -1], np.float32), [len(moved), len(left)])
    places = np.concatenate([after[moved], before[left]]), np.concatenate([moved, left])
    found: Floats = csr_matrix((signs, places), (k, len(frames))) @ frames
    return found


def _means(sums: Sums, sizes: Ints, frames: Floats, distances: Floats) -> Floats:
    """The mean of each unit's frames; an empty unit moves to a frame far from its centroid."""
    means: Floats = (sums / np.maximum(sizes, 1)[:, None]).astype(np.float32)
    empty = np.flatnonzero(sizes == 0)
    if len(empty):
        means[empty] = frames[np.argsort(-distances, kind="stable")[: len(empty)]]
    return means
