"""A classifier of emotions that runs its encoder. How it is built, saved and loaded.

The folder that `save` writes holds what training changed and no more, in the hub's own layout: the
whole model for ``full``, a PEFT adapter with the head for ``lora-qkv``. Plain transformers and PEFT
load it where the architecture is theirs (`Design.is_transformers`). Adapters on WavLM act there
once they are merged: transformers never runs the projections that they are on.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from pipeline.encoders import encoder as encoders
from pipeline.encoders import forward, layout
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.methods import emotion_head, lora
from pipeline.methods.emotion_head import Design, EmotionHead
from pipeline.training import checkpoint
from pipeline.training.waves import Batch

HEADED = "ForSequenceClassification"
ADAPTED = ("full", "lora-qkv")  # the methods that change the encoder


class Classifier(nn.Module):
    """Waveforms to class logits; ``encoder`` is changed in place where it gets adapters.

    An untrained head is drawn where none is given.
    """

    def __init__(self, encoder: Any, design: Design, head: EmotionHead | None = None) -> None:
        super().__init__()
        self.design = design
        self.encoder = encoder
        if design.method == "lora-qkv" and design.lora:
            lora.adapt(encoder, lora.QKV, design.lora)
        elif design.method not in ADAPTED:
            encoder.requires_grad_(False)
        self.head = head or emotion_head.build(design)

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
    with files.unchanged(base / layout.WEIGHTS):
        if design.method != "full" and layout.weights_sha256(base) != design.encoder_sha256:
            raise PipelineError(
                f"{folder}: belongs to another encoder than {base}, "
                "run `dvc repro` or give the encoder it was trained from"
            )
        return _load(folder, base, design).eval()


def _load(folder: Path, base: Path, design: Design) -> Classifier:
    if design.method == "full":
        place = folder / layout.WEIGHTS
        encoder = encoders.outline(folder / layout.CONFIG)
        _require_of(folder, encoder, design)
        own, rest = _parted(encoder, checkpoint.read(place))
        checkpoint.fill(encoder, own, place)
        encoder.do_normalize = layout.do_normalize(folder)
        return Classifier(encoder, design, emotion_head.filled(design, rest, place))
    encoder = encoders.load(base)
    _require_of(folder, encoder, design)
    if design.method == "lora-qkv" and design.lora:
        place = folder / lora.WEIGHTS
        own, rest = _parted(encoder, lora.read(folder, design.lora))
        model = Classifier(encoder, design, emotion_head.filled(design, rest, place))
        lora.restore(encoder, own, place)
        return model
    return Classifier(encoder, design, emotion_head.load(folder))


def _require_of(folder: Path, encoder: Any, design: Design) -> None:
    shape = encoder.config.hidden_size, encoder.config.num_hidden_layers
    if shape != (design.width, design.blocks):
        raise PipelineError(
            f"{folder}: expected an encoder of width {design.width} and {design.blocks} blocks, "
            f"got {shape[0]} and {shape[1]}, run `dvc repro`"
        )


def _parted(encoder: Any, found: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The encoder's tensors by its own names, and the head's."""
    prefix = encoder.base_model_prefix + "."
    rest = {name: value for name, value in found.items() if not name.startswith(prefix)}
    return checkpoint.under(prefix, found), rest
