"""A classifier of emotions that runs its encoder. How it is built, saved and loaded.

The folder that `save` writes holds what training changed and no more, in the hub's own layout: the
whole model for ``full``, a PEFT adapter with the head for ``lora-qkv``. Plain transformers and PEFT
load it where the architecture is theirs (`Design.is_transformers`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pipeline.encoders import encoder as encoders
from pipeline.encoders import forward, layout
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.methods import emotion_head, lora
from pipeline.methods.emotion_head import Design
from pipeline.training import checkpoint
from pipeline.training.waves import Batch

HEADED = "ForSequenceClassification"
ADAPTED = ("full", "lora-qkv")  # the methods that change the encoder


class Classifier(nn.Module):
    """Waveforms to class logits; ``encoder`` is changed in place where it gets adapters."""

    def __init__(self, encoder: Any, design: Design) -> None:
        super().__init__()
        self.design = design
        self.encoder = encoder
        if design.method == "lora-qkv" and design.lora:
            lora.adapt(encoder, lora.QKV, design.lora)
        elif design.method not in ADAPTED:
            encoder.requires_grad_(False)
        self.head = emotion_head.build(design)

    def train(self, mode: bool = True) -> Self:
        """As usual, but an encoder that the method leaves alone has no dropout."""
        super().train(mode)
        self.encoder.train(mode and self.design.method in ADAPTED)
        return self

    def forward(self, waves: Sequence[Tensor]) -> Tensor:
        """Map clips, each (samples,), to logits (clips, classes) in fp32."""
        layers = self.design.layers
        hidden, lengths = forward.hidden(self.encoder, waves, layers)
        logits: Tensor = self.head([hidden[layer] for layer in layers], lengths)
        return logits

    def logits(self, batch: Batch) -> Tensor:
        """The logits of a batch's clips."""
        logits: Tensor = self(batch.waves)
        return logits

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """The loss summed over the clips, and their number."""
        return self.head.loss(self.logits(batch), batch.examples)


def state(model: Classifier) -> dict[str, Tensor]:
    """All weights by the names of transformers' audio classifiers, adapters left out."""
    prefix = model.encoder.base_model_prefix
    own = {f"{prefix}.{name}": value for name, value in lora.without(model.encoder).items()}
    return own | lora.without(model.head)


def save(model: Classifier, folder: Path) -> None:
    """Write a classifier that trained its encoder (not atomic: the caller publishes the folder)."""
    design = model.design
    design.write(folder)
    if design.method == "full":
        write_whole(model, folder)
    elif design.lora:
        prefix = model.encoder.base_model_prefix
        found = {f"{prefix}.{name}": value for name, value in lora.tensors(model.encoder).items()}
        lora.save(folder, found | model.head.state_dict(), lora.QKV, design.lora, lora.HEAD)


def write_whole(model: Classifier, folder: Path) -> None:
    """Write encoder and head as one model of the hub."""
    design = model.design
    labels = {str(label): name for label, name in enumerate(design.classes)}
    theirs = {
        "architectures": [type(model.encoder).__name__.removesuffix("Model") + HEADED],
        "classifier_proj_size": design.model.projection,
        "id2label": labels,
        "label2id": {name: int(label) for label, name in labels.items()},
        "use_weighted_layer_sum": design.model.layer == "weighted",
    }
    encoders.write_config(model.encoder, folder, theirs if design.is_transformers else {})
    checkpoint.write(folder / layout.WEIGHTS, state(model), {"format": "pt"})


def load(folder: Path, base: Path | None = None) -> Classifier:
    """Read a classifier of any method, in eval mode.

    Args:
        folder: What `save` or `emotion_head.save` wrote.
        base: The encoder that it was trained on, where that is not in ``folder`` and has moved.

    Raises:
        PipelineError: The folder is incomplete or damaged, or ``base`` is another encoder.
    """
    design = Design.read(folder)
    base = base or Path(design.encoder)
    if design.method != "full" and layout.weights_sha256(base) != design.encoder_sha256:
        raise PipelineError(
            f"{folder}: belongs to another encoder than {base}, "
            "run `dvc repro` or give the encoder it was trained from"
        )
    try:
        return _load(folder, base, design).eval()
    except (OSError, SafetensorError, RuntimeError) as error:
        raise PipelineError(f"{folder}: {str(error).splitlines()[0]}, run `dvc repro`") from None


def _load(folder: Path, base: Path, design: Design) -> Classifier:
    if design.method == "full":
        encoder = encoders.skeleton(files.read_json(folder / layout.CONFIG))
        files.require_intact(folder / layout.WEIGHTS)
        found = load_file(folder / layout.WEIGHTS)
        prefix = encoder.base_model_prefix + "."
        encoder.load_state_dict(checkpoint.under(prefix, found), assign=True)
        encoder.do_normalize = files.read_json(folder / layout.PREPROCESSOR)["do_normalize"]
        model = Classifier(encoder, design)
        model.head.load_state_dict({n: v for n, v in found.items() if not n.startswith(prefix)})
        return model
    model = Classifier(encoders.load(base), design)
    if design.method == "lora-qkv":
        found = lora.read(folder)
        prefix = model.encoder.base_model_prefix + "."
        lora.restore(model.encoder, checkpoint.under(prefix, found))
        model.head.load_state_dict({n: v for n, v in found.items() if not n.startswith(prefix)})
    else:
        model.head = emotion_head.load(folder)
    return model
