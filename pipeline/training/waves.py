"""Clips as waveforms, read for the training loop ahead of the device.

A frozen convolutional front end passes each clip once: what it made stays in memory and takes the
waveform's place in later epochs.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pipeline.audio.flac import read_clip
from pipeline.embeddings.batches import read_ahead
from pipeline.encoders import forward
from pipeline.splits.task import Example

# 100 kB a second for a base model.
FRONT_END_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Batch:
    """Clips that pass the model together; ``epoch`` is 0 outside training.

    A wave is (samples,), or (frames, channels) after a frozen front end.
    """

    examples: Sequence[Example]
    waves: Sequence[Tensor]
    epoch: int


@dataclass
class Waves:
    """The source of batches for models that run ``encoder``."""

    encoder: Any
    fronts: dict[str, Tensor] = field(default_factory=dict)
    fronts_bytes: int = 0

    def batches(
        self, groups: Iterable[Sequence[Example]], device: torch.device, epoch: int
    ) -> Iterator[Batch]:
        """One batch per group, on ``device``; a thread decodes one batch ahead."""

        def read(members: Sequence[Example]) -> tuple[Sequence[Example], list[Tensor]]:
            return members, [self._wave(example).to(device) for example in members]

        frozen = forward.is_frozen(self.encoder.feature_extractor)
        for members, waves in read_ahead(read, groups):
            fronts = [self._front(*pair) for pair in zip(members, waves, strict=True) if frozen]
            yield Batch(members, fronts or waves, epoch)

    def _wave(self, example: Example) -> Tensor:
        """What a frozen front end made of the clip, where that was kept, else its samples."""
        kept = self.fronts.get(example.clip.clip)
        return torch.from_numpy(read_clip(example.clip.file)) if kept is None else kept

    def _front(self, example: Example, wave: Tensor) -> Tensor:
        if wave.ndim == 2:  # kept from an earlier epoch
            return wave
        with torch.inference_mode(False), torch.no_grad():
            made = forward.front_end(self.encoder, wave)
        if self.fronts_bytes + made.nbytes <= FRONT_END_BYTES:
            self.fronts[example.clip.clip] = made.cpu()
            self.fronts_bytes += made.nbytes
        return made
