"""Cached frames, read from HDF5 clip by clip, so that memory does not grow with the corpus.

Between the embeddings that `extract` wrote and the networks that train on them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.embeddings.reader import Embeddings, Floats
from pipeline.encoders.layers import Layer
from pipeline.ground.errors import PipelineError
from pipeline.splits.task import Item

# A feature that never changes would otherwise be divided by zero.
MIN_VARIANCE = 1e-8


class Frames:
    """The cached frames of one layer over several corpora, read clip by clip."""

    def __init__(self, corpora: Sequence[Embeddings], layer: Layer) -> None:
        self.headers = [corpus.header for corpus in corpora]
        self.width = corpora[0].width
        self.layer = layer
        self._corpus = {clip: corpus for corpus in corpora for clip in corpus.clips}

    def read(self, sample: Item) -> Floats:
        """The frames of the sample's clip, (frames, width)."""
        return self._of(sample).frames(sample.clip.clip, self.layer)

    def _of(self, sample: Item) -> Embeddings:
        try:
            return self._corpus[sample.clip.clip]
        except KeyError:
            raise PipelineError(
                f"{sample.clip.clip}: its embedding is missing, run `dvc repro extract`"
            ) from None


def require_frames(key: str, corpora: Sequence[Embeddings]) -> None:
    """Check that what ``key`` of params.yaml names makes frames, which a network follows in time.

    Raises:
        PipelineError: It makes one vector a clip.
    """
    if not corpora[0].hop_s:
        raise PipelineError(
            f"params.yaml: {key} has {corpora[0].header.encoder!r}, which makes one vector a clip, "
            "name an encoder of frames, such as fbank"
        )


@dataclass(frozen=True)
class Scale:
    """Each feature's mean and deviation over training frames, (width,) each."""

    mean: Tensor
    deviation: Tensor

    def __call__(self, frames: Tensor) -> Tensor:
        """Standardise frames (..., width)."""
        return (frames - self.mean) / self.deviation

    def tensors(self) -> dict[str, Tensor]:
        """By the names under which a network's weights hold it."""
        return {"scale/mean": self.mean, "scale/deviation": self.deviation}

    @classmethod
    def taken(cls, tensors: dict[str, Tensor], width: int, place: Path) -> "Scale":
        """Take what `tensors` gave out of a network's, which were read from ``place``.

        Raises:
            PipelineError: It is missing, or of another width.
        """
        none = torch.empty(0)
        found = cls(tensors.pop("scale/mean", none), tensors.pop("scale/deviation", none))
        if {found.mean.shape, found.deviation.shape} != {(width,)}:
            raise PipelineError(f"{place}: expected a scale of width {width}, run `dvc repro`")
        return found

    @classmethod
    def of(cls, frames: Frames, train: Sequence[Item], measured: bool) -> "Scale":
        """Measure over the frames of ``train``, one clip in memory at a time, or change nothing."""
        if not measured:
            return cls(torch.zeros(frames.width), torch.ones(frames.width))
        total, squares, count = np.zeros(frames.width), np.zeros(frames.width), 0
        for sample in train:
            values = frames.read(sample).astype(np.float64)
            total += values.sum(0)
            squares += np.square(values).sum(0)
            count += len(values)
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, MIN_VARIANCE))
        return cls(torch.from_numpy(mean).float(), torch.from_numpy(deviation).float())
