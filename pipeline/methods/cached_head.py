"""A head trained alone, from the means over time that `extract` cached: no encoder runs.

Mean pooling and a frozen encoder make the same head as with the encoder in the loop, since nothing
before the head changes from epoch to epoch.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.embeddings.reader import Embeddings
from pipeline.encoders.layers import Layer
from pipeline.ground.errors import PipelineError
from pipeline.methods.emotion_head import EmotionHead
from pipeline.splits.task import Example


@dataclass(frozen=True)
class Batch:
    """Clips that pass the head together; ``means`` is (clips, layers, width)."""

    examples: Sequence[Example]
    means: Tensor


class Means:
    """The source of batches: the cached means of some layers, kept in memory.

    Raises:
        PipelineError: The embeddings hold no means of a layer.
    """

    def __init__(self, corpora: Sequence[Embeddings], layers: Sequence[Layer]) -> None:
        self.headers = [corpus.header for corpus in corpora]
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
            yield Batch(members, self._means[rows].to(device))


class CachedHead(nn.Module):
    """The head as `pipeline.training.fit` wants its models.

    Raises:
        PipelineError: It reads frames, not means.
    """

    def __init__(self, head: EmotionHead) -> None:
        super().__init__()
        if head.recurrent:
            raise PipelineError(
                "params.yaml: finetune.methods.frozen.model.head must be pool, which reads means, "
                f"got {head.design.model.head!r}"
            )
        self.head = head

    def logits(self, batch: Any) -> Tensor:
        """The logits of a batch's clips, (clips, classes)."""
        return self.head.of_means(batch.means.unbind(1))

    def loss(self, batch: Any) -> tuple[Tensor, int]:
        """The loss summed over the clips, and their number."""
        return self.head.loss(self.logits(batch), batch.examples)
