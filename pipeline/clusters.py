"""Multi-scale k-means of encoder frames: the codebooks that make units of them.

One sample of training frames, balanced by clip, serves every scale. Scales are nested to save work,
and bind one another little: a finer scale is seeded within the cells of the coarser one, and its
Lloyd iterations compare a frame only with the centroids near its coarse cell (as in approximate
k-means: Philbin et al. 2007, Wang et al. 2012). Units are later assigned exactly, by `nearest`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from pipeline.embeddings import Embeddings
from pipeline.errors import PipelineError
from pipeline.layers import Layer
from pipeline.nearest import Floats, Ints, nearest, nearest_few
from pipeline.progress import say
from pipeline.seeds import derive

# Frames per centroid: an error below the first, a warning below the second (faiss's own threshold).
FEWEST, FEW = 10, 39
# The coarsest scale needs no more than this; its seeds need fewer still.
COARSEST_FRAMES_PER_CENTROID = 1024
SEEDING_FRAMES_PER_CENTROID = 64
# A finer scale is fitted on as many as faiss takes; all 322 lower its inertia by 0.2 % (the same
# frames as below, 512 centroids), and with a million frames they would cost 8 times as much.
FRAMES_PER_CENTROID = 256
# A centroid is seen from the cells nearest to it. Twice as many lower the inertia by 0.2 % in 1.7
# times the time, half as many raise it by 0.3 % (log-mel frames of RAVDESS and EmoDB, 4096).
NEAR_CELLS = 8


def quotas(lengths: Ints, total: int, seed: int) -> Ints:
    """How many frames to draw from clips of ``lengths`` frames: ``total``, as equal as can be.

    A clip shorter than its share gives all it has and the others make up for it; what does not
    divide evenly goes to clips at random.
    """
    low, high = 0, int(lengths.max(initial=0))
    while low < high:
        share = (low + high + 1) // 2
        low, high = (share, high) if np.minimum(lengths, share).sum() <= total else (low, share - 1)
    counts = np.minimum(lengths, low)
    longer = np.random.default_rng(derive(seed, "quotas")).permutation(
        np.flatnonzero(lengths > low)
    )
    counts[longer[: total - int(counts.sum())]] += 1
    return counts


def draw(
    embeddings: Embeddings, layer: Layer, clips: Collection[str], total: int, seed: int
) -> Floats:
    """At most ``total`` frames of ``clips``, balanced by clip, (frames, width), in file order.

    A clip's frames are drawn by its own seed and read as one slice: memory holds the sample and
    one clip.
    """
    names = [clip for clip in embeddings.clips if clip in clips]
    lengths = np.array([embeddings.length(clip) for clip in names], np.int64)
    counts = quotas(lengths, total, seed)
    sample = np.empty((int(counts.sum()), embeddings.width), np.float32)
    filled = 0
    for clip, length, count in zip(names, lengths, counts, strict=True):
        if count:
            rng = np.random.default_rng(derive(seed, "sample", clip))
            rows = np.sort(rng.choice(length, count, replace=False))
            sample[filled : filled + count] = embeddings.frames(clip, layer)[rows]
            filled += count
    return sample


def fit(
    frames: Floats, scales: Sequence[int], iterations: int, seed: int, device: str = "cpu"
) -> dict[int, Floats]:
    """Codebooks of the ascending ``scales``, (centroids, width) each.

    ``frames``, (frames, width), are reordered in place where a scale needs them all: a sorted copy
    would double the memory.

    Raises:
        PipelineError: Fewer than 10 frames per centroid at the finest scale.
    """
    require_enough(len(frames), scales[-1])
    rng = np.random.default_rng(derive(seed, "coarsest"))
    part = frames[rng.permutation(len(frames))[: COARSEST_FRAMES_PER_CENTROID * scales[0]]]
    few = part[: SEEDING_FRAMES_PER_CENTROID * scales[0]]
    start = _seeds(few, _one_cell(few), scales[0], seed)
    found = _lloyd(part, _one_cell(part), start, iterations, device)
    codebooks = {scales[0]: found}
    for scale in scales[1:]:
        part = _part(frames, FRAMES_PER_CENTROID * scale, seed)
        cells = _sort_by_cell(part, found, device)
        start = _seeds(part, cells, scale, seed)
        found = codebooks[scale] = _lloyd(part, cells, start, iterations, device)
    return codebooks


def _part(frames: Floats, most: int, seed: int) -> Floats:
    """At most so many of the frames, at random; all of them where there are no more, uncopied."""
    if len(frames) <= most:
        return frames
    rows = np.random.default_rng(derive(seed, "part", most)).permutation(len(frames))[:most]
    part: Floats = frames[rows]
    return part


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


def _one_cell(frames: Floats) -> Cells:
    return Cells(frames.mean(0, keepdims=True), np.array([0, len(frames)]))


def _sort_by_cell(frames: Floats, centroids: Floats, device: str) -> Cells:
    """Reorder ``frames`` in place by nearest centroid."""
    _, cells = nearest(frames, centroids, device)
    order = np.argsort(cells, kind="stable")
    for column in range(0, frames.shape[1], 64):
        part = frames[:, column : column + 64]
        part[:] = part[order]
    sizes = np.bincount(cells, minlength=len(centroids))
    return Cells(centroids, np.concatenate([[0], np.cumsum(sizes)]))


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


def _lloyd(frames: Floats, cells: Cells, start: Floats, iterations: int, device: str) -> Floats:
    """Lloyd iterations in which a frame sees the centroids that have its cell among the nearest."""
    units = np.empty(len(frames), np.int64)
    distances = np.empty(len(frames), np.float32)
    centroids, before = start, np.empty(0, np.float32)
    for _ in range(iterations):
        if np.array_equal(centroids, before):
            break
        for cell, seen in enumerate(_visible(cells, centroids, device)):
            rows = cells.rows(cell)
            if rows.start < rows.stop:
                distances[rows], found = nearest(frames[rows], centroids[seen], device)
                units[rows] = seen[found]
        centroids, before = _means(frames, units, distances, len(centroids)), centroids
    return centroids


def _visible(cells: Cells, centroids: Floats, device: str) -> list[Ints]:
    """Per cell the numbers of the centroids that have it among their nearest cells, ascending."""
    count = min(NEAR_CELLS, len(cells.centroids))
    _, near = nearest_few(centroids, cells.centroids, count, device)
    _, closest = nearest(cells.centroids, centroids, device)
    seen = [np.flatnonzero((near == cell).any(1)) for cell in range(len(cells.centroids))]
    return [own if len(own) else closest[cell : cell + 1] for cell, own in enumerate(seen)]


def _means(frames: Floats, units: Ints, distances: Floats, k: int) -> Floats:
    """The mean of each unit's frames; an empty unit moves to a frame far from its centroid."""
    sizes = np.bincount(units, minlength=k)
    members = csr_matrix(
        (np.ones(len(units), np.float32), (units, np.arange(len(units)))), (k, len(units))
    )
    means: Floats = (members @ frames) / np.maximum(sizes, 1)[:, None].astype(np.float32)
    empty = np.flatnonzero(sizes == 0)
    if len(empty):
        means[empty] = frames[np.argsort(-distances, kind="stable")[: len(empty)]]
    return means
