"""A classifier of emotions: encoder, head, class logits. How it is built, saved and loaded.

The folder that `save` writes holds what training changed and no more: the whole encoder for
``full``, the adapters for ``lora-qkv``; always the head; and a ``config.json`` that tells how to
put them together. An adapter's folder names the digest of the encoder that it belongs to.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline import checkpoint, files, heads, layout, lora, losses, metrics
from pipeline import encoder as encoders
from pipeline.device import autocast
from pipeline.errors import PipelineError
from pipeline.layers import Layer
from pipeline.task import Example
from pipeline.training import Fit
from pipeline.waves import Batch


class Design(BaseModel):
    """Everything that fixes a classifier's architecture; stored as its ``config.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["full", "lora-qkv"]
    classes: list[str]
    head: Literal["pool", "bilstm"]
    layer: Layer
    projection: int
    lstm_width: int
    loss: Literal["ce", "am-softmax"]
    scale: float
    margin: float
    rank: int = 0
    alpha: float = 0.0
    dropout: float = 0.0
    encoder_sha256: str = ""


class Classifier(nn.Module):
    """Waveforms to class logits."""

    def __init__(self, encoder: Any, design: Design) -> None:
        super().__init__()
        width = encoder.config.hidden_size
        self.design = design
        self.body = (
            lora.adapt(encoder, design.rank, design.alpha, design.dropout)
            if design.method == "lora-qkv"
            else encoder
        )
        self.head = (
            heads.Pool(width, design.projection)
            if design.head == "pool"
            else heads.BiLstm(width, design.lstm_width, design.projection)
        )
        self.output = (
            nn.Linear(design.projection, len(design.classes))
            if design.loss == "ce"
            else losses.Cosine(design.projection, len(design.classes), design.scale)
        )

    @property
    def encoder(self) -> Any:
        """The module to run: with adapters inside where the method has them."""
        return self.body.get_base_model() if self.design.method == "lora-qkv" else self.body

    def forward(self, waves: Sequence[Tensor]) -> Tensor:
        """Map clips, each (samples,), to logits (clips, classes) in fp32."""
        layer = self.design.layer
        hidden, lengths = encoders.hidden(self.encoder, waves, [layer])
        logits: Tensor = self.output(self.head(hidden[layer], lengths))
        return logits.float()

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """The loss summed over the clips; AM-Softmax's margin is applied in training alone."""
        logits = self(batch.waves)
        targets = torch.tensor([e.label for e in batch.examples], device=logits.device)
        if self.training and self.design.loss == "am-softmax":
            logits = losses.with_margin(logits, targets, self.design.scale * self.design.margin)
        return losses.cross_entropy_sum(logits, targets), len(batch.examples)


def save(model: Classifier, folder: Path) -> None:
    """Write the classifier into an existing folder (the caller publishes it)."""
    files.write_json(folder / layout.CONFIG, model.design.model_dump(mode="json"))
    checkpoint.write(folder / "head.safetensors", _own_parts(model).state_dict())
    if model.design.method == "lora-qkv":
        lora.save(model.body, folder / "adapter")
    else:
        (folder / "encoder").mkdir()
        encoders.save(model.encoder, folder / "encoder")


def load(folder: Path, base: Path) -> Classifier:
    """Read a classifier; ``base`` is the folder of the encoder that its adapters belong to.

    Raises:
        PipelineError: The folder is incomplete, or ``base`` is another encoder.
    """
    design = Design(**files.read_json(folder / layout.CONFIG))
    adapted = design.method == "lora-qkv"
    if adapted and layout.weights_sha256(base) != design.encoder_sha256:
        raise PipelineError(
            f"{folder}: its adapters belong to another encoder than {base}, "
            "run `dvc repro` or give the encoder it was trained from"
        )
    model = Classifier(encoders.load(base if adapted else folder / "encoder"), design)
    if adapted:
        lora.restore(model.body, folder / "adapter")
    files.require_intact(folder / "head.safetensors")
    _own_parts(model).load_state_dict(load_file(folder / "head.safetensors"))
    return model.eval()


def logits(fit: Fit, model: Classifier, found: Sequence[Example]) -> np.ndarray[Any, Any]:
    """The logits of every example's clip, (clips, classes), in the order given."""
    model.eval()
    place = {example.clip.clip: row for row, example in enumerate(found)}
    result = np.zeros((len(found), len(model.design.classes)), np.float32)
    with torch.inference_mode(), autocast(fit.device, fit.settings.precision):
        for batch in fit.batches(found):
            rows = [place[example.clip.clip] for example in batch.examples]
            result[rows] = model(batch.waves).cpu().numpy()
    return result


def score(fit: Fit, model: Classifier, dev: Sequence[Example]) -> dict[str, float]:
    """Loss per clip (no margin) and unweighted average recall over clips."""
    scored = logits(fit, model, dev)
    targets = np.array([example.label for example in dev])
    loss = losses.cross_entropy_sum(torch.from_numpy(scored), torch.from_numpy(targets))
    counts = metrics.confusion(targets, scored.argmax(-1), scored.shape[1])
    return {"dev_loss": float(loss) / len(dev), "dev_uar": float(metrics.uar(counts))}


def _own_parts(model: Classifier) -> nn.ModuleDict:
    """What stands on the encoder."""
    return nn.ModuleDict({"head": model.head, "output": model.output})
