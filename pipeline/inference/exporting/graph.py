"""The graph of an exported model: one waveform to logits, in operations that ONNX has.

A clip alone has no padding, and none of what keeps padding from the results is in the graph.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, batch_norm, pad

from pipeline.embeddings.frames import Scale
from pipeline.encoders import encoder as encoders
from pipeline.encoders import frontends, layout
from pipeline.encoders.kinds import whisper
from pipeline.encoders.layers import Layer
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.inference import passport
from pipeline.inference.exporting.frames import Encoded, FrontEnd, OfWave, Whispered
from pipeline.methods import classifier, emotion_head
from pipeline.methods import features as cached
from pipeline.methods.emotion_head import DESIGN, EmotionHead
from pipeline.methods.features import Features
from pipeline.methods.networks import crnn, regression
from pipeline.methods.networks.cnn_lstm import Trunk
from pipeline.methods.networks.crnn import Crnn
from pipeline.methods.networks.regressor import Regressors
from pipeline.training import checkpoint

PLANES = ("mean", "scale", "weight", "bias")


class Graph(nn.Module):
    """(1, samples) to logits (1, classes); ``head`` gets the frames (1, frames, width) of layers.

    What learnt from cached frames knew them in the precision ``stored``.
    """

    def __init__(self, frames: OfWave, head: nn.Module) -> None:
        super().__init__()
        self.frames, self.head = frames, head

    def forward(self, wave: Tensor) -> Tensor:
        """Judge one waveform."""
        logits: Tensor = self.head(self.frames(wave))
        return logits


class OfMeans(nn.Module):
    """An `EmotionHead` that reads means over time."""

    def __init__(self, head: EmotionHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Map frames (1, frames, width) of each layer to (1, classes)."""
        return self.head.of_means([_mean(frames) for frames in layers])


class OfFrames(EmotionHead):
    """Takes the place of an `EmotionHead` that reads frames: packed sequences have no graph."""

    stored: torch.dtype

    def forward(self, layers: Sequence[Tensor], lengths: Tensor | None = None) -> Tensor:
        """Map frames (1, frames, width) of each layer to (1, classes)."""
        known = [_as_stored(frames, self.stored) for frames in layers]
        return super().forward(known, torch.full((1,), layers[0].shape[1]))

    def _pooled(self, frames: Tensor, lengths: Tensor) -> Tensor:
        if self.design.model.head == "bilstm":
            return _mean(self.lstm(frames)[0])
        return super()._pooled(frames, lengths)


class OfSpectrograms(nn.Module):
    """What `pipeline.methods.networks.crnn` computes of a clip."""

    def __init__(self, network: Crnn, scale: Scale, stored: torch.dtype) -> None:
        super().__init__()
        self.network, self.stored = network, stored
        self.gru = Recurrent(network.gru)
        self.mean, self.deviation = scale.mean, scale.deviation

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Map the frames (1, frames, bands) of the one layer to (1, classes)."""
        net, frames = self.network, _as_stored(layers[0], self.stored)
        images = ((frames - self.mean) / self.deviation)[:, None]
        for convolution, norm in zip(net.convolutions, net.norms, strict=True):
            assert isinstance(norm, nn.BatchNorm1d)  # noqa: S101
            statistics = norm.running_mean, norm.running_var, norm.weight, norm.bias
            images = torch.relu(batch_norm(convolution(images), *statistics, eps=norm.eps))
            # With zeros at the end an odd last frame counts half, and an even one as it is.
            images = avg_pool2d(pad(images, (0, 1, 0, 1)), 2)
        states = self.gru(images.transpose(1, 2).flatten(2))[0]
        weights = net.attention(states).softmax(1)
        logits: Tensor = net.output((weights * states).sum(1))
        return logits


class OfValues(nn.Module):
    """What `pipeline.methods.networks.regressor` computes of a clip."""

    def __init__(self, model: Regressors, scale: Scale, stored: torch.dtype) -> None:
        super().__init__()
        self.model, self.stored = model, stored
        self.mean, self.deviation = scale.mean, scale.deviation
        for trunk in [module for module in model.modules() if isinstance(module, Trunk)]:
            trunk.halved = _Halved()
            trunk.lower, trunk.upper = Recurrent(trunk.lower), Recurrent(trunk.upper)

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Map the frames (1, frames, width) of the one layer to values (1, classes)."""
        frames = (_as_stored(layers[0], self.stored) - self.mean) / self.deviation
        values: Tensor = self.model(frames, torch.full((1,), frames.shape[1]))
        return values


class _Halved(nn.Module):
    """The maximum of each pair, by ONNX's own: torch 2.13 gives max_pool1d no dynamic time."""

    def forward(self, images: Tensor) -> Tensor:
        """Map (1, width, frames) to (1, width, half of them), an odd last one alone."""
        one, width, frames = images.shape
        told: dict[str, Any] = {"kernel_shape": [2], "strides": [2], "ceil_mode": 1}
        shape = one, width, (frames + 1) // 2
        return torch.onnx.ops.symbolic(
            "::MaxPool", (images,), told, dtype=images.dtype, shape=shape
        )


class Recurrent(nn.Module):
    """An LSTM or GRU of one layer, by ONNX's own operation of that name.

    Where time is not known, torch 2.13 gets to the one by a slow detour, and not to the other.
    """

    # The gates in ONNX's order, by their places in torch's.
    ORDERS: ClassVar = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}

    def __init__(self, made: nn.Module) -> None:
        super().__init__()
        assert isinstance(made, nn.RNNBase)  # noqa: S101
        self.kind, self.width = made.mode, made.hidden_size
        self.ends = ("", "_reverse") if made.bidirectional else ("",)
        self.inputs, self.states = self._of(made, "weight_ih_l0"), self._of(made, "weight_hh_l0")
        self.biases = torch.cat([self._of(made, n) for n in ("bias_ih_l0", "bias_hh_l0")], 1)

    def forward(self, frames: Tensor) -> tuple[Tensor]:
        """Map (1, frames, width) to the states (1, frames, directions hidden), alone in a tuple."""
        directions = len(self.ends)
        told: dict[str, Any] = {"hidden_size": self.width}
        told["direction"] = "bidirectional" if directions == 2 else "forward"
        if self.kind == "GRU":
            told["linear_before_reset"] = 1
        made = torch.onnx.ops.symbolic(
            f"::{self.kind}",
            (frames.transpose(0, 1), self.inputs, self.states, self.biases),
            told,
            dtype=frames.dtype,
            shape=(frames.shape[1], directions, 1, self.width),
        )
        return (made[:, :, 0].flatten(1)[None],)

    def _of(self, made: nn.RNNBase, name: str) -> Tensor:
        """Of each direction."""
        return torch.stack([self._ordered(getattr(made, name + end)) for end in self.ends])

    def _ordered(self, gates: Tensor) -> Tensor:
        parts = gates.detach().split(self.width)
        return torch.cat([parts[place] for place in self.ORDERS[self.kind]])


class OfPlanes(nn.Module):
    """What `pipeline.methods.linear.load` computes of the first layer."""

    def __init__(self, tensors: Mapping[str, Tensor], deviation: bool, stored: torch.dtype) -> None:
        super().__init__()
        self.mean, self.scale, self.weight, self.bias = (tensors[n].double() for n in PLANES)
        self.halved = "classes" in tensors and len(tensors["bias"]) == 1
        self.deviation, self.stored = deviation, stored

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Map the frames (1, frames, width) of each layer to (1, classes)."""
        vectors = _mean(layers[0])
        if self.deviation:
            spread = _as_stored(layers[0], self.stored).std(1, correction=0)
            vectors = torch.cat([vectors, spread], 1)
        values = (vectors.double() - self.mean) / self.scale @ self.weight.T + self.bias
        if self.halved:
            values = torch.cat([-values / 2, values / 2], 1)
        return values.float()


def of(folder: Path) -> Graph:
    """That of the exported model in ``folder``.

    Raises:
        PipelineError: It has none: its encoder is not in the folder, or was computed in bf16, or is
            openSMILE.
    """
    if not (folder / cached.FILE).is_file():
        model = classifier.load(folder)
        return Graph(Encoded(model.encoder, model.design.layers), _of_head(model.head))
    features, place = Features.read(folder), folder / passport.ENCODER
    if not place.is_dir():
        raise PipelineError("--onnx: the graph holds the encoder, run it without --pin")
    if features.precision == "bf16":
        raise PipelineError(
            "--onnx: what it learnt from was embedded in bf16, which has no graph, set "
            "extract.precision to fp32 or export it without"
        )
    return Graph(_of_encoder(place, features.layers), _of_cached(folder, features))


def _of_encoder(place: Path, layers: Sequence[Layer]) -> OfWave:
    settings = frontends.parse(files.read_json(place / layout.CONFIG))
    if settings is None:
        encoder = encoders.load(place)
        kind = Whispered if whisper.is_one(encoder) else Encoded
        return kind(encoder, layers)
    if isinstance(settings, frontends.Opensmile):
        raise PipelineError("--onnx: openSMILE is a program and has no graph, export it without")
    return FrontEnd(settings)


def _of_cached(folder: Path, features: Features) -> nn.Module:
    stored = getattr(torch, features.dtype)
    if (folder / regression.DESIGN).is_file():
        return OfValues(*regression.load(folder), stored)
    if (folder / crnn.DESIGN).is_file():
        return OfSpectrograms(*crnn.load(folder), stored)
    if (folder / DESIGN).is_file():
        return _of_head(emotion_head.load(folder), stored)
    tensors = checkpoint.read(folder / layout.WEIGHTS)
    return OfPlanes(tensors, features.deviation, stored)


def _of_head(head: EmotionHead, stored: torch.dtype = torch.float32) -> nn.Module:
    if head.design.reads_means:
        return OfMeans(head)
    head.__class__ = OfFrames
    if head.design.model.head == "bilstm":
        setattr(head, "lstm", Recurrent(head.lstm))  # noqa: B010
    setattr(head, "stored", stored)  # noqa: B010
    return head


def _mean(frames: Tensor) -> Tensor:
    """(1, frames, width) to (1, width), by double precision as means are cached."""
    return frames.mean(1, dtype=torch.float64).float()


def _as_stored(frames: Tensor, stored: torch.dtype) -> Tensor:
    """In the precision of the cached frames, but for what that is."""
    return frames.to(stored).float()
