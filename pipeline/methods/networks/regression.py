"""What regressors on cached frames train on, how they begin, and what is kept of them.

Between `pipeline.embeddings.frames` and the stage `networks`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pipeline.embeddings.batches import read_ahead
from pipeline.embeddings.frames import Frames, Scale
from pipeline.ground import files
from pipeline.ground.params import parse
from pipeline.methods.networks.regressor import Design, Regressor, Regressors
from pipeline.splits.task import Example
from pipeline.training import checkpoint
from pipeline.work.seeds import derive

WEIGHTS = "model.safetensors"
DESIGN = "networks.json"


@dataclass(frozen=True)
class Batch:
    """Clips that pass a network together.

    ``frames`` (clips, frames, width) is zero on padding, ``lengths`` is (clips,), ``values``
    (clips, outputs) has NaN where one is unknown.
    """

    examples: Sequence[Example]
    frames: Tensor
    lengths: Tensor
    values: Tensor


@dataclass(frozen=True)
class ScaledFrames:
    """The source of batches of rated clips."""

    frames: Frames
    scale: Scale

    def batches(
        self, groups: Iterable[Sequence[Example]], device: torch.device, epoch: int
    ) -> Iterator[Batch]:
        """One batch per group, on ``device``; every epoch has the same."""

        def read(members: Sequence[Example]) -> Batch:
            clips = [self.scale(torch.from_numpy(self.frames.read(example))) for example in members]
            frames = pad_sequence(clips, batch_first=True)
            lengths = torch.tensor([len(clip) for clip in clips])
            values = torch.tensor([example.values for example in members])
            return Batch(members, *(t.to(device) for t in (frames, lengths, values)))

        return read_ahead(read, groups)


def untrained(design: Design, train: Sequence[Example], seed: int) -> Regressors:
    """Regressors that start at the mean values of ``train``, to where the first epochs would go."""
    means = np.nanmean([example.values for example in train], 0)
    made = {}
    for name, columns in design.groups.items():
        torch.manual_seed(derive(seed, "init", name))
        made[name] = Regressor(design, columns)
        made[name].start_at(torch.tensor(means[columns]))
    return Regressors(made)


def save(model: Regressors, scale: Scale, folder: Path) -> None:
    """Write the regressors and what standardises their frames into an existing folder."""
    files.write_json(folder / DESIGN, model.design.model_dump(mode="json"))
    checkpoint.write(folder / WEIGHTS, {**model.state_dict(), **scale.tensors()})


def load(folder: Path) -> tuple[Regressors, Scale]:
    """Read what `save` wrote: the regressors, ready to predict, and what standardises their frames.

    Raises:
        PipelineError: The folder is incomplete or damaged, or beyond the limits.
    """
    design, place = parse(folder / DESIGN, Design), folder / WEIGHTS
    with torch.device("meta"):
        model = Regressors({n: Regressor(design, own) for n, own in design.groups.items()})
    tensors = checkpoint.read(place)
    scale = Scale.taken(tensors, design.width, place)
    checkpoint.fill(model, tensors, place)
    return model.eval(), scale
