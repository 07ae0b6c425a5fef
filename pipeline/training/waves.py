"""Clips as waveforms, read for the training loop ahead of the device.

A frozen convolutional front end passes each clip once: what it made stays in memory and takes the
waveform's place in later epochs.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pipeline.audio.flac import read_clip
from pipeline.embeddings.batches import read_ahead
from pipeline.encoders import forward
from pipeline.encoders.encoder import is_frozen
from pipeline.splits.task import Example
from pipeline.work.device import send
from pipeline.work.pool import cores

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

    @property
    def packed(self) -> bool:
        """Whether clips pass the encoder without padding."""
        return forward.packs(self.encoder)

    def fuse(self) -> None:
        """Have a GPU compile the encoder's blocks."""
        self.encoder.fuse = True

    def batches(
        self, groups: Iterable[Sequence[Example]], device: torch.device, epoch: int
    ) -> Iterator[Batch]:
        """One batch per group, for ``device``; a thread decodes one batch ahead, for a GPU several.

        A GPU gets waveforms when they pass, all in one copy.
        """
        on_gpu = device.type == "cuda"

        def read(members: Sequence[Example]) -> tuple[Sequence[Example], list[Tensor]]:
            return members, list(threads.map(self._wave, members))

        frozen = is_frozen(self.encoder.feature_extractor)
        with ThreadPoolExecutor(cores() if on_gpu else 1) as threads:
            for members, waves in read_ahead(read, groups):
                fronts = self._fronts(members, waves, device) if frozen else waves
                yield Batch(members, fronts, epoch)

    def _wave(self, example: Example) -> Tensor:
        """What a frozen front end made of the clip, where that was kept, else its samples."""
        kept = self.fronts.get(example.clip.clip)
        if kept is not None:
            return kept
        return torch.from_numpy(read_clip(example.clip.file, example.clip.sha256))

    def _fronts(
        self, members: Sequence[Example], waves: Sequence[Tensor], device: torch.device
    ) -> list[Tensor]:
        """What the front end makes of waveforms; of what it made before, a copy on the device."""
        given = [send(wave, device) if wave.ndim == 2 else wave for wave in waves]
        with torch.inference_mode(False), torch.no_grad():
            found = forward.front_ends(self.encoder, given)
            for example, wave, made in zip(members, waves, found, strict=True):
                if wave.ndim == 1 and self.fronts_bytes + made.nbytes <= FRONT_END_BYTES:
                    self.fronts[example.clip.clip] = _on_host(made)
                    self.fronts_bytes += made.nbytes
        return found


def _on_host(made: Tensor) -> Tensor:
    """A copy; that of a GPU is under way, and before any that is made back from it."""
    if not made.is_cuda:
        return made
    return torch.empty_like(made, device="cpu", pin_memory=True).copy_(made, non_blocking=True)
