"""A head trained alone, from what `extract` cached: no encoder runs.

A frozen encoder makes the same head as with the encoder in the loop, since nothing before the head
changes from epoch to epoch. Where the head reads means over time, these are enough; else frames of
its layers are read, clip by clip.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from pipeline.embeddings.batches import read_ahead
from pipeline.embeddings.frames import Frames
from pipeline.embeddings.reader import Embeddings
from pipeline.encoders.layers import Layer
from pipeline.ground.errors import PipelineError
from pipeline.methods.emotion_head import Design, EmotionHead
from pipeline.splits.task import Example


@dataclass(frozen=True)
class Batch:
    """Clips that pass the head together.

    ``layers`` are (clips, width) each: means. With ``lengths``, (clips,) on the CPU, they are
    frames, (clips, frames, width), zero on padding.
    """

    examples: Sequence[Example]
    layers: Sequence[Tensor]
    lengths: Tensor | None = None


class Means:
    """The source of batches of means: those of some layers, kept in memory.

    Raises:
        PipelineError: The embeddings hold no means of a layer.
    """

    def __init__(self, corpora: Sequence[Embeddings], layers: Sequence[Layer]) -> None:
        clips = [clip for corpus in corpora for clip in corpus.clips]
        self._row = {clip: row for row, clip in enumerate(clips)}
        stacked = [np.stack([c.means(layer) for layer in layers], 1) for c in corpora]
        self._means = torch.from_numpy(np.concatenate(stacked))

    def batches(
        self, groups: Iterable[Sequence[Example]], device: torch.device, epoch: int
    ) -> Iterator[Batch]:
        """One batch per group, on ``device``; every epoch has the same."""
        for members in groups:
            rows = [self._row[example.clip.clip] for example in members]
            yield Batch(members, self._means[rows].to(device).unbind(1))


class LayerFrames:
    """The source of batches of frames, read while the batch before them passes.

    Raises:
        PipelineError: The embeddings hold no frames of a layer, or a clip is one vector.
    """

    def __init__(self, corpora: Sequence[Embeddings], layers: Sequence[Layer]) -> None:
        if not corpora[0].hop_s:
            raise PipelineError(
                "params.yaml: finetune.methods.frozen.model.head must be pool for "
                f"{corpora[0].header.encoder!r}, which makes one vector a clip"
            )
        for corpus in corpora:
            for layer in layers:
                corpus.rows(layer, 0, 0)
        self._layers = [Frames(corpora, layer) for layer in layers]

    def batches(
        self, groups: Iterable[Sequence[Example]], device: torch.device, epoch: int
    ) -> Iterator[Batch]:
        """One batch per group, on ``device``; every epoch has the same."""

        def read(members: Sequence[Example]) -> Batch:
            found = [
                [torch.from_numpy(layer.read(example)) for example in members]
                for layer in self._layers
            ]
            padded = [pad_sequence(clips, batch_first=True).to(device) for clips in found]
            return Batch(members, padded, torch.tensor([len(clip) for clip in found[0]]))

        return read_ahead(read, groups)


def source(corpora: Sequence[Embeddings], design: Design) -> Means | LayerFrames:
    """What a head of this design reads.

    Raises:
        PipelineError: The embeddings do not hold it.
    """
    kind = Means if design.reads_means else LayerFrames
    return kind(corpora, design.layers)


class CachedHead(nn.Module):
    """The head as `pipeline.training.fit` wants its models."""

    def __init__(self, head: EmotionHead) -> None:
        super().__init__()
        self.head = head

    def logits(self, batch: Any) -> Tensor:
        """The logits of a batch's clips, (clips, classes)."""
        if batch.lengths is None:
            return self.head.of_means(batch.layers)
        logits: Tensor = self.head(batch.layers, batch.lengths)
        return logits

    def loss(self, batch: Any) -> tuple[Tensor, int]:
        """The loss summed over the clips, and their number."""
        return self.head.loss(self.logits(batch), batch.examples)
