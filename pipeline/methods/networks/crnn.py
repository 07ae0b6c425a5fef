"""A small convolutional-recurrent network from cached log-mel frames to emotions.

The usual shape in sound classification (Cakir et al., 2017): 2-D convolutions, each followed by an
average over 2 x 2, a bidirectional GRU over what is left of time, attention that weighs its states.

A clip's result is the same alone and in any batch: padding is zero before every convolution, as the
convolution pads a clip alone, takes no part in batch normalisation, and never reaches GRU or
attention.
"""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pipeline.embeddings.frames import Scale
from pipeline.ground import files
from pipeline.ground.params import Section, parse
from pipeline.methods.finetuning import Classes, Count, Fraction
from pipeline.methods.networks.spectrograms import Batch
from pipeline.training import checkpoint, losses
from pipeline.training.heads import valid

WEIGHTS = "model.safetensors"
DESIGN = "crnn.json"
T = TypeVar("T", int, Tensor)


class Design(Section):
    """What fixes a network: ``bands`` is the width of its frames, ``channels`` the convolutions'.

    ``gru_width`` is per direction, ``dropout`` before the GRU and before the classes.
    """

    classes: Classes
    bands: Count
    channels: Annotated[list[Count], Field(min_length=1, max_length=16)]
    gru_width: Count
    dropout: Fraction


class Crnn(nn.Module):
    """Log-mel frames to class logits; ``gamma`` is the focal loss's."""

    def __init__(self, design: Design, gamma: float = 0.0) -> None:
        super().__init__()
        self.design, self.gamma, bands = design, gamma, design.bands
        pairs = list(pairwise([1, *design.channels]))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairs
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(b) for _, b in pairs)
        for _ in pairs:
            bands = _halved(bands)
        self.gru = nn.GRU(
            design.channels[-1] * bands, design.gru_width, batch_first=True, bidirectional=True
        )
        self.attention = nn.Linear(2 * design.gru_width, 1)
        self.dropout = nn.Dropout(design.dropout)
        self.output = nn.Linear(2 * design.gru_width, len(design.classes))

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Map (clips, frames, bands) to logits (clips, classes) in fp32.

        Args:
            frames: Standardised, and zero on padding.
            lengths: (clips,) valid frames of each clip, at least 1, on the CPU.
        """
        # Twice as fast on a CPU with channels last.
        images = frames[:, None].contiguous(memory_format=torch.channels_last)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            images = torch.relu(_normed(norm, convolution(images), lengths))
            # An odd last frame counts half, as it does before padding.
            images = avg_pool2d(images, 2, ceil_mode=True, divisor_override=4)
            lengths = _halved(lengths)
        states = self._states(images.transpose(1, 2).flatten(2).float(), lengths)
        padding = ~valid(lengths, states.shape[1]).to(states.device)
        weights = self.attention(states).squeeze(2).masked_fill(padding, -torch.inf).softmax(1)
        logits: Tensor = self.output(self.dropout((weights[:, None] @ states).squeeze(1)))
        return logits.float()

    def logits(self, batch: Batch) -> Tensor:
        """The logits of a batch's clips."""
        logits: Tensor = self(batch.frames, batch.lengths)
        return logits

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Cross-entropy with the batch's targets, summed over the clips, and their number."""
        logits = self.logits(batch)
        loss = losses.soft_cross_entropy_sum(logits, batch.targets, gamma=self.gamma)
        return loss, len(batch.examples)

    def _states(self, images: Tensor, lengths: Tensor) -> Tensor:
        """The GRU's states on valid frames, zero on padding."""
        packed = pack_padded_sequence(
            self.dropout(images), lengths, batch_first=True, enforce_sorted=False
        )
        states = self.gru(packed)[0]
        return pad_packed_sequence(states, batch_first=True, total_length=images.shape[1])[0]


def save(model: Crnn, scale: Scale, folder: Path) -> None:
    """Write the network and what standardises its frames into an existing folder."""
    files.write_json(folder / DESIGN, model.design.model_dump(mode="json"))
    checkpoint.write(folder / WEIGHTS, {**model.state_dict(), **scale.tensors()})


def load(folder: Path) -> tuple[Crnn, Scale]:
    """Read what `save` wrote: the network, ready to predict, and what standardises its frames.

    Raises:
        PipelineError: The folder is incomplete or damaged, or beyond the limits.
    """
    design, place = parse(folder / DESIGN, Design), folder / WEIGHTS
    with torch.device("meta"):
        model = Crnn(design)
    tensors = checkpoint.read(place)
    scale = Scale.taken(tensors, design.bands, place)
    checkpoint.fill(model, tensors, place)
    return model.eval(), scale


def _normed(norm: nn.Module, images: Tensor, lengths: Tensor) -> Tensor:
    """Normalise (clips, channels, frames, bands) over all valid positions; padding becomes zero.

    Positions are rows for ``norm``: of images in channels-last layout, torch 2.13 computes a wrong
    gradient of its norm where the next step's gradient has another layout.
    """
    frames = images.permute(0, 2, 3, 1).flatten(0, 1)
    kept = valid(lengths, images.shape[2]).flatten().nonzero().squeeze(1).to(images.device)
    positions = frames.index_select(0, kept)
    normed = norm(positions.flatten(0, 1)).view(positions.shape)
    padded = torch.zeros_like(frames, dtype=normed.dtype).index_copy(0, kept, normed)
    made: Tensor = padded.unflatten(0, (len(images), images.shape[2]))
    return made.permute(0, 3, 1, 2)


def _halved(length: T) -> T:
    """What an average over pairs leaves of a length."""
    return (length + 1) // 2
