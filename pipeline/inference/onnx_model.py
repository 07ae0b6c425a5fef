"""A classifier as ONNX, for programs without PyTorch; needs the extra ``onnx``.

The graph takes one waveform as it is, mono at 16 kHz: the encoder's normalisation is inside.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.audio.formats import SAMPLE_RATE_HZ
from pipeline.encoders import encoder as encoders
from pipeline.encoders import forward
from pipeline.encoders.layout import FIELD_SAMPLES
from pipeline.ground.errors import PipelineError
from pipeline.methods.classifier import Classifier

OPSET = 18


class _OneWave(nn.Module):
    """(1, samples) to logits (1, classes), in operations that ONNX has."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model
        self.normalize = model.encoder.do_normalize
        model.encoder.do_normalize = False

    def forward(self, wave: Tensor) -> Tensor:
        if self.normalize:
            variance = wave.var(1, correction=0, keepdim=True)
            wave = (wave - wave.mean(1, keepdim=True)) / torch.sqrt(variance + 1e-7)
        encoder, design = self.model.encoder, self.model.design
        frames = encoder.feature_extractor(wave).transpose(1, 2)
        hidden = forward.hidden_of_one(encoder, frames, design.layers)
        means = [hidden[layer].mean(1) for layer in design.layers]
        return self.model.head.of_means(means)


def write(model: Classifier, path: Path) -> None:
    """Write ``path``; the model is changed (its weight norm is folded) and is not used again.

    Raises:
        PipelineError: The extra is not installed, or the head reads frames.
    """
    if not model.design.reads_means:
        raise PipelineError("onnx: the head must be pool, train one with finetune.model.head pool")
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise PipelineError("onnx: not installed, run `pip install -e .[onnx]`") from None
    encoders.fold(model.encoder)
    example = torch.zeros(1, SAMPLE_RATE_HZ)
    dynamic: Any = ({1: torch.export.Dim("samples", min=FIELD_SAMPLES)},)
    program: Any = torch.onnx.export(
        _OneWave(model).eval(),
        (example,),
        input_names=["wave"],
        output_names=["logits"],
        opset_version=OPSET,
        dynamic_shapes=dynamic,
        dynamo=True,
    )
    # Each node says which lines made it, by their paths on this machine.
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
    program.save(path, external_data=False)
