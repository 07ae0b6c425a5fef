"""One seeded sample of training frames for k-means, balanced by clip, drawn straight from HDF5."""

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.embeddings.reader import Embeddings
from pipeline.encoders.layers import Layer
from pipeline.units.nearest import Floats, Ints
from pipeline.work.seeds import derive

if TYPE_CHECKING:
    from torch import Tensor


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
    counts = _counts(embeddings, clips, total, seed)
    sample = np.empty((sum(counts.values()), embeddings.width), np.float32)
    for rows, own in _drawn(embeddings, layer, counts, seed):
        sample[rows] = own
    return sample


def draw_on(
    device: str,
    embeddings: Embeddings,
    layer: Layer,
    clips: Collection[str],
    total: int,
    seed: int,
) -> "Tensor":
    """As `draw`, in the memory of ``device``: the host's holds one clip."""
    import torch

    counts = _counts(embeddings, clips, total, seed)
    sample = torch.empty(sum(counts.values()), embeddings.width, device=device)
    for rows, own in _drawn(embeddings, layer, counts, seed):
        sample[rows] = torch.from_numpy(own).to(device)
    return sample


def _counts(
    embeddings: Embeddings, clips: Collection[str], total: int, seed: int
) -> dict[int, int]:
    """How many frames to draw of a clip, by its place in the file."""
    places = [place for place, clip in enumerate(embeddings.clips) if clip in clips]
    lengths = np.diff(embeddings.offsets)[places]
    return dict(zip(places, quotas(lengths, total, seed).tolist(), strict=True))


def _drawn(
    embeddings: Embeddings, layer: Layer, counts: Mapping[int, int], seed: int
) -> Iterator[tuple[slice, npt.NDArray[Any]]]:
    """Each clip's frames in the stored type, which is slow to widen, and their place."""
    filled = 0
    for place, count in counts.items():
        start, stop = embeddings.offsets[place : place + 2].tolist()
        if count:
            own = embeddings.stored(layer, start, stop)
            if count < stop - start:
                rng = np.random.default_rng(derive(seed, "sample", embeddings.clips[place]))
                own = own[np.sort(rng.choice(stop - start, count, replace=False))]
            embeddings.require_finite(layer, bool(np.isfinite(own).all()))
            yield slice(filled, filled + count), own
            filled += count
