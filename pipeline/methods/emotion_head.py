"""The head that makes logits, or values of dimensions, of an encoder's frames or cached means.

`pipeline.methods.classifier` puts it on an encoder; `pipeline.methods.cached_head` trains it alone.
Its parameters have the names of transformers' audio classifiers (``projector``, ``classifier``,
``layer_weights``), so that what is saved loads there wherever the architecture is theirs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.encoders.layers import Layer
from pipeline.ground import files
from pipeline.ground.params import Section, parse
from pipeline.methods import lora
from pipeline.methods.finetuning import (
    SCHEMA,
    Classes,
    LoraParams,
    LossParams,
    ModelParams,
    OwnLoss,
    Target,
)
from pipeline.splits.task import Example
from pipeline.training import checkpoint, heads, losses
from pipeline.work.device import send

DESIGN = "classifier.json"
HEAD = "head.safetensors"


class Design(Section):
    """Everything that fixes a classifier's architecture; stored as its ``classifier.json``.

    ``encoder`` is the folder of the encoder that it was trained on, ``width`` and ``blocks`` that
    encoder's hidden size and number of transformer blocks. ``classes`` names the outputs: of the
    target dimensions, these, with their ``means`` and ``deviations`` over the training clips.
    """

    version: SCHEMA = 3
    method: Literal["full", "lora-qkv", "frozen", "lora-classifier"]
    target: Target
    classes: Classes
    means: list[float] = Field(default_factory=list)
    deviations: list[float] = Field(default_factory=list)
    encoder: str
    encoder_sha256: str
    width: Annotated[int, Field(ge=1, le=1_000_000)]
    blocks: Annotated[int, Field(ge=0, le=1000)]
    model: ModelParams
    loss: LossParams | OwnLoss
    lora: LoraParams | None = None

    @property
    def layers(self) -> list[Layer]:
        """The layers that the head reads; those that transformers weights, from the bottom up."""
        if self.model.layer == "weighted":
            return list(range(-self.blocks - 1, 0))
        return [self.model.layer]

    @property
    def pooled(self) -> int:
        """The width of what the head makes of a clip's frames."""
        if self.model.head == "bilstm":
            return 2 * self.model.lstm_width
        return self.width if self.model.head == "pool" else 2 * self.width

    @property
    def reads_means(self) -> bool:
        """Whether the mean over time is all that the head reads of a clip's frames."""
        return self.model.head == "pool"

    @property
    def is_transformers(self) -> bool:
        """Whether ``AutoModelForAudioClassification`` has this architecture."""
        model = self.model
        plain = model.head == "pool" and not model.batch_norm and self.target != "dimensions"
        plain = plain and self.loss.name != "am-softmax"
        return plain and model.layer in ("last", "weighted")

    @classmethod
    def read(cls, folder: Path) -> "Design":
        """The design of the classifier in ``folder``.

        Raises:
            PipelineError: It is missing, damaged, or beyond the limits.
        """
        return parse(folder / DESIGN, cls)

    def write(self, folder: Path) -> None:
        """Write ``classifier.json`` into an existing folder."""
        files.write_json(folder / DESIGN, self.model_dump(mode="json"))


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that takes a single vector by the running statistics, in training too."""

    def forward(self, vectors: Tensor) -> Tensor:
        """Map (clips, width) to the same shape."""
        if self.training and len(vectors) > 1:
            return super().forward(vectors)
        return nn.functional.batch_norm(
            vectors, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


class EmotionHead(nn.Module):
    """Layers to one vector a clip, then projection, optional norm and dropout, class logits."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        model, count = design.model, len(design.classes)
        self.design = design
        self.class_weights: Tensor | None = None
        self.gamma = 0.0
        if model.layer == "weighted":
            layers = design.blocks + 1
            self.layer_weights = nn.Parameter(torch.full((layers,), 1 / layers))
        if model.head == "bilstm":
            self.lstm = nn.LSTM(
                design.width, model.lstm_width, batch_first=True, bidirectional=True
            )
        elif model.head == "attentive":
            self.attention = heads.AttentiveStatistics(design.width)
        self.projector = nn.Linear(design.pooled, model.projection)
        self.norm = BatchNorm(model.projection) if model.batch_norm else nn.Identity()
        self.dropout = nn.Dropout(model.dropout)
        self.classifier = (
            losses.Cosine(model.projection, count, design.loss.scale)
            if isinstance(design.loss, LossParams) and design.loss.name == "am-softmax"
            else nn.Linear(model.projection, count)
        )
        if isinstance(design.loss, OwnLoss):
            self.ratings = losses.Ratings(design.loss.name, design.means, design.deviations)
        if design.target == "dimensions":
            # Training starts at the mean ratings: far from them the concordance has no slope.
            for parameter in self.classifier.parameters():
                nn.init.zeros_(parameter)

    def forward(self, layers: Sequence[Tensor], lengths: Tensor) -> Tensor:
        """Map the frames of each of `Design.layers` to logits (clips, classes) in fp32.

        ``pool`` is transformers' head: projecting and then averaging is the same as averaging and
        then projecting. ``bilstm`` is GMP-ATL's (figure 1a). All but ``pool`` have a ReLU after
        the projection.

        Args:
            layers: (clips, frames, width) each; what lies on padding is not read.
            lengths: (clips,) frames of each clip.
        """
        if self.design.reads_means:
            return self.of_means([heads.mean_over_time(frames, lengths) for frames in layers])
        vectors = self._pooled(self._mixed(layers), lengths)
        return self._classified(torch.relu(self.projector(vectors)))

    def of_means(self, layers: Sequence[Tensor]) -> Tensor:
        """Map the means of each layer over time, (clips, width), to logits (clips, classes)."""
        return self._classified(self.projector(self._mixed(layers)))

    def loss(self, logits: Tensor, found: Sequence[Example]) -> tuple[Tensor, int]:
        """The loss summed over the clips, and their number.

        The margin and what `meet` was told are for training alone.
        """
        settings = self.design.loss
        if isinstance(settings, OwnLoss):
            values = send(torch.tensor([example.values for example in found]), logits.device)
            return self.ratings(logits, values, self.gamma * self.training), len(found)
        targets = send(torch.tensor([example.label for example in found]), logits.device)
        if not self.training:
            return losses.cross_entropy_sum(logits, targets), len(found)
        if settings.name == "am-softmax":
            logits = losses.with_margin(logits, targets, settings.scale * settings.margin)
        weights = self.class_weights
        if weights is not None:
            weights = send(weights, logits.device)
        return losses.cross_entropy_sum(logits, targets, weights, self.gamma), len(found)

    def meet(self, weights: npt.NDArray[np.float64] | None, gamma: float) -> None:
        """Train on classes that weigh (classes,), by the focal loss of ``gamma``."""
        self.class_weights = None if weights is None else torch.from_numpy(weights).float()
        self.gamma = gamma

    def _pooled(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """One vector a clip, (clips, `Design.pooled`)."""
        if self.design.model.head == "bilstm":
            return heads.mean_over_time(heads.run_lstm(self.lstm, frames, lengths), lengths)
        if self.design.model.head == "attentive":
            statistics: Tensor = self.attention(frames, lengths)
            return statistics
        return heads.mean_max(frames, lengths)

    def _mixed(self, layers: Sequence[Tensor]) -> Tensor:
        if self.design.model.layer != "weighted":
            return layers[0]
        weights = self.layer_weights.softmax(0)
        pairs = zip(weights, layers, strict=True)
        return torch.stack([weight * layer for weight, layer in pairs]).sum(0)

    def _classified(self, vectors: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.dropout(self.norm(vectors))).float()
        return logits if self.design.target == "emotion" else self.ratings.scaled(logits)


def build(design: Design) -> EmotionHead:
    """An untrained head, with adapters where the method has them there.

    Drawn from torch's global generator.
    """
    head = EmotionHead(design)
    if design.method == "lora-classifier" and design.lora:
        lora.adapt(head, lora.HEAD, design.lora)
    return head


def save(head: EmotionHead, folder: Path) -> None:
    """Write a head that was trained alone into an existing folder (the caller publishes it).

    Beside the adapters of ``lora-classifier`` lies the untrained head that they were trained on: a
    new one would be drawn from another seed, and the adapters mean nothing on it.
    """
    design = head.design
    design.write(folder)
    checkpoint.write(folder / HEAD, lora.without(head))
    if design.method == "lora-classifier" and design.lora:
        lora.save(folder, lora.tensors(head), lora.HEAD, design.lora)


def load(folder: Path) -> EmotionHead:
    """Read the head that `save` wrote, in eval mode.

    Raises:
        PipelineError: The folder is incomplete or damaged.
    """
    design = Design.read(folder)
    head = filled(design, checkpoint.read(folder / HEAD), folder / HEAD)
    if design.method == "lora-classifier" and design.lora:
        found = lora.read(folder, design.lora)
        lora.adapt(head, lora.HEAD, design.lora)
        lora.restore(head, found, folder / lora.WEIGHTS)
    return head.eval()


def filled(design: Design, tensors: dict[str, Tensor], place: Path) -> EmotionHead:
    """The head of a design with these weights, read from ``place``.

    No memory is taken before they are known to fit.

    Raises:
        PipelineError: They do not fit.
    """
    with torch.device("meta"):
        head = EmotionHead(design)
    checkpoint.fill(head, tensors, place)
    return head
