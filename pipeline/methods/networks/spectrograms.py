"""Cached frames as the training loop's batches: standardised, augmented in training, padded.

Between the embeddings that `extract` wrote and `pipeline.methods.networks.crnn`. Each clip of an
epoch draws from a generator of its own, so that neither batches nor a killed run change what it
becomes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pipeline.embeddings.batches import read_ahead
from pipeline.embeddings.frames import Frames, Scale
from pipeline.methods.networks.specaugment import Augmentation, Floats, augmented, mixed, mixture
from pipeline.splits.task import Example
from pipeline.work.seeds import derive


@dataclass(frozen=True)
class Batch:
    """Clips that pass the network together.

    ``frames`` (clips, frames, bands) is zero on padding, ``lengths`` (clips,) counts valid frames,
    on the CPU. ``targets`` (clips, classes) is each class's share of a clip, one-hot but for mixup,
    times that class's weight in the loss.
    """

    examples: Sequence[Example]
    frames: Tensor
    lengths: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Spectrograms:
    """The source of batches.

    ``train`` are the clips that mixup draws, ``weights`` (classes,) those of the classes.
    """

    frames: Frames
    scale: Scale
    weights: npt.NDArray[np.float64]
    train: Sequence[Example]
    augmentation: Augmentation
    seed: int

    def batches(
        self, groups: Iterable[Sequence[Example]], device: torch.device, epoch: int
    ) -> Iterator[Batch]:
        """One batch per group, on ``device``; epoch 0 augments nothing."""

        def read(members: Sequence[Example]) -> Batch:
            made = [self.item(example, epoch) for example in members]
            clips = [torch.from_numpy(frames) for frames, _ in made]
            lengths = torch.tensor([len(clip) for clip in clips])
            targets = torch.from_numpy(np.stack([target for _, target in made]))
            padded = pad_sequence(clips, batch_first=True)
            return Batch(members, padded.to(device), lengths, targets.to(device))

        yield from read_ahead(read, groups)

    def item(self, example: Example, epoch: int) -> tuple[Floats, Floats]:
        """A clip's frames (frames, bands) and its target (classes,) in an epoch."""
        frames, target = self._read(example), self._target(example)
        if not epoch:
            return frames, target
        random = np.random.default_rng(derive(self.seed, "augment", epoch, example.clip.clip))
        frames = augmented(frames, self.augmentation, random)
        share = mixture(self.augmentation.mixup, random)
        if share == 1:
            return frames, target
        other = self.train[int(random.integers(len(self.train)))]
        frames = mixed(frames, augmented(self._read(other), self.augmentation, random), share)
        return frames, np.float32(share) * target + np.float32(1 - share) * self._target(other)

    def _read(self, example: Example) -> Floats:
        frames: Floats = self.scale(torch.from_numpy(self.frames.read(example))).numpy()
        return frames

    def _target(self, example: Example) -> Floats:
        if example.values:  # the shares of votes
            return np.array(example.values, np.float32)
        target: Floats = np.diag(self.weights.astype(np.float32))[example.label]
        return target
