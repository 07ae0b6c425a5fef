"""One seeded sample of training frames for k-means, balanced by clip, drawn straight from HDF5."""

from collections.abc import Collection

import numpy as np

from pipeline.embeddings.reader import Embeddings
from pipeline.encoders.layers import Layer
from pipeline.units.nearest import Floats, Ints
from pipeline.work.seeds import derive


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
            own = embeddings.frames(clip, layer)
            if count < length:
                rng = np.random.default_rng(derive(seed, "sample", clip))
                own = own[np.sort(rng.choice(length, count, replace=False))]
            sample[filled : filled + count] = own
            filled += count
    return sample
