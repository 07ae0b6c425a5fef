"""An exported model as ONNX, for programs without PyTorch; needs the extra ``onnx``.

One graph of encoder and head takes a waveform of any length as it is, mono at 16 kHz: the encoder's
normalisation is inside.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.audio.formats import SAMPLE_RATE_HZ
from pipeline.encoders import encoder as encoders
from pipeline.encoders import forward
from pipeline.encoders.layers import Layer
from pipeline.encoders.layout import FIELD_SAMPLES, WEIGHTS
from pipeline.ground.errors import PipelineError
from pipeline.inference import passport
from pipeline.inference.judge import ONNX
from pipeline.methods import classifier
from pipeline.methods import features as cached
from pipeline.methods.emotion_head import DESIGN
from pipeline.methods.features import Features
from pipeline.training import checkpoint

OPSET = 18
# Convolutions of 8 bits are slower on a CPU, and few weights are theirs.
QUANTIZED = ["MatMul", "Gemm"]

PLANES = ("mean", "scale", "weight", "bias")

Head = Callable[[Sequence[Tensor]], Tensor]


class _OneWave(nn.Module):
    """(1, samples) to logits (1, classes), in operations that ONNX has.

    ``head`` gets the frames (1, frames, width) of each of ``layers``.
    """

    def __init__(self, encoder: Any, layers: Sequence[Layer], head: Head) -> None:
        super().__init__()
        self.encoder, self.layers, self.head = encoder, list(layers), head
        self.normalize = encoder.do_normalize
        encoder.do_normalize = False

    def forward(self, wave: Tensor) -> Tensor:
        if self.normalize:
            variance = wave.var(1, correction=0, keepdim=True)
            wave = (wave - wave.mean(1, keepdim=True)) / torch.sqrt(variance + 1e-7)
        frames = self.encoder.feature_extractor(wave).transpose(1, 2)
        hidden = forward.hidden_of_one(self.encoder, frames, self.layers)
        return self.head([hidden[layer] for layer in self.layers])


class _OnMeans(nn.Module):
    """The head of a `pipeline.methods.classifier.Classifier` that reads means over time."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.head = head

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        logits: Tensor = self.head.of_means([frames.mean(1) for frames in layers])
        return logits


class _Planes(nn.Module):
    """What `pipeline.methods.linear.load` computes, of frames."""

    def __init__(self, tensors: dict[str, Tensor], features: Features) -> None:
        super().__init__()
        self.planes = nn.ParameterDict(
            {name: nn.Parameter(tensors[name].double(), False) for name in PLANES}
        )
        self.deviation = features.deviation
        self.stored = getattr(torch, features.dtype)

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        vectors = layers[0].mean(1)
        if self.deviation:
            rounded = layers[0].to(self.stored).float()
            vectors = torch.cat([vectors, rounded.std(1, correction=0)], 1)
        mean, scale, weight, bias = (self.planes[name] for name in PLANES)
        values = (vectors.double() - mean) / scale @ weight.T + bias
        if values.shape[1] == 1:
            values = torch.cat([-values / 2, values / 2], 1)
        logits: Tensor = values.float()
        return logits


def write(folder: Path, int8: bool = False) -> None:
    """Write ``model.onnx`` into the folder of an exported model, with ``int8`` also a smaller one.

    Raises:
        PipelineError: The extra is not installed, or the model is a front end's, reads frames one
            by one, or has its encoder in reduced precision.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
        from onnxruntime import quantization
    except ImportError:
        raise PipelineError("onnx: not installed, run `pip install -e .[onnx]`") from None
    model, path = _graph(folder), folder / ONNX["onnx"]
    encoders.fold(model.encoder)
    dynamic: Any = ({1: torch.export.Dim("samples", min=FIELD_SAMPLES)},)
    with _quiet():
        program: Any = torch.onnx.export(
            model.eval(),
            (torch.zeros(1, SAMPLE_RATE_HZ),),
            input_names=["wave"],
            output_names=["logits"],
            opset_version=OPSET,
            dynamic_shapes=dynamic,
            dynamo=True,
            verbose=False,
        )
    # Each node says which lines made it, by their paths on this machine.
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
    program.save(path, external_data=False)
    if int8:
        graph = onnx.load(path)
        # Shapes that the exporter noted before it joined nodes: some are no longer true.
        del graph.graph.value_info[:]
        with _quiet():
            quantization.quantize_dynamic(
                graph,
                folder / ONNX["onnx-int8"],
                op_types_to_quantize=QUANTIZED,
                per_channel=True,
                extra_options={"DefaultTensorType": 1},  # float, where shapes are not known
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters log: tries of theirs that fail before one does not."""
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _graph(folder: Path) -> _OneWave:
    if not (folder / cached.FILE).is_file():
        model = classifier.load(folder)
        if not model.design.reads_means:
            raise PipelineError(
                "onnx: the head must be pool, train one with finetune.model.head pool"
            )
        return _OneWave(model.encoder, model.design.layers, _OnMeans(model.head))
    features, place = Features.read(folder), folder / passport.ENCODER
    if not (place / WEIGHTS).is_file() or features.precision != "fp32":
        raise PipelineError(
            "onnx: the encoder must have its weights in the folder, in fp32, export a model on "
            "such a one, without --pin"
        )
    if (folder / DESIGN).is_file():
        raise PipelineError("onnx: this head has no graph, export `linear` or a whole model")
    tensors = checkpoint.read(folder / WEIGHTS)
    return _OneWave(encoders.load(place), features.layers, _Planes(tensors, features))
