"""Classifiers of every method, as their stages would leave them, with weights of chance."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.numpy import save_file

from pipeline.embeddings.frames import Scale
from pipeline.embeddings.reader import Precision
from pipeline.encoders import encoder as encoders
from pipeline.encoders import frontends, layout
from pipeline.encoders.layers import Layer
from pipeline.ground import files
from pipeline.methods import classifier, emotion_head
from pipeline.methods.emotion_head import Design
from pipeline.methods.features import Features
from pipeline.methods.finetuning import LossParams, Network, OwnLoss, Target
from pipeline.methods.networks import crnn, regression, regressor
from tests.methods.test_classifier import CE, LARGE, design_of
from tests.speech import small_encoder, small_whisper

ENCODERS = Path("artifacts/encoders")
CLASSES = ["angry", "sad", "happy"]
DIMENSIONS = ["arousal", "valence"]
AMS = LossParams(name="am-softmax", scale=30.0, margin=0.2)
CCC: dict[str, Any] = {
    "target": "dimensions",
    "classes": DIMENSIONS,
    "means": [3.0, 4.0],
    "deviations": [0.5, 1.5],
    "loss": OwnLoss(name="ccc"),
}
VOTES: dict[str, Any] = {"target": "votes", "classes": CLASSES, "loss": OwnLoss(name="soft-ce")}
STYLES: dict[str, dict[str, Any]] = {
    "hubert": {},
    "large": LARGE,
    "wav2vec2": {"model_type": "wav2vec2"},
    "wavlm": {"model_type": "wavlm"},
    "data2vec": {"model_type": "data2vec-audio", "num_conv_pos_embeddings": 5},
}
BANDS = {"bands": 40, "window_ms": 25.0, "hop_ms": 10.0, "high_hz": 8000.0}
FRONT_ENDS: dict[str, dict[str, Any]] = {
    "fbank": BANDS,
    "mfcc": {**BANDS, "coefficients": 13, "deltas": 2, "every": 2},
    "opensmile": {"feature_set": "eGeMAPSv02"},
}


def encoder_of(name: str) -> tuple[Path, int, int]:
    """The folder of a small encoder or front end, its blocks and its width."""
    place = ENCODERS / name
    if place.exists():
        pass
    elif name in FRONT_ENDS:
        place.mkdir(parents=True)
        files.write_json(place / layout.CONFIG, {"kind": name, **FRONT_ENDS[name]})
    elif name == "whisper":
        small_whisper(place)
    else:
        small_encoder(place, **STYLES[name])
    front_end = frontends.parse(files.read_json(place / layout.CONFIG))
    return place, *((0, front_end.width) if front_end else layout.shape(place))


def whole(encoder: str, method: str = "full", told: dict[str, Any] = {}, **model: Any) -> Path:  # noqa: B006
    """What `finetune` leaves."""
    design = _design(encoder, method, told, model)
    folder = Path("m")
    folder.mkdir()
    classifier.save(classifier.Classifier(encoders.load(Path(design.encoder)), design), folder)
    return folder


def head(encoder: str, method: str = "frozen", told: dict[str, Any] = {}, **model: Any) -> Path:  # noqa: B006
    """What `finetune_cached` leaves of a head."""
    design = _design(encoder, method, told, model)
    folder = Path("m")
    folder.mkdir()
    emotion_head.save(_of_chance(emotion_head.build(design)), folder)
    _features(folder, encoder, design.layers, design.target, design.classes)
    return folder


def network(encoder: str) -> Path:
    """What `crnn` leaves."""
    width = encoder_of(encoder)[2]
    design = crnn.Design(classes=CLASSES, bands=width, channels=[4, 6], gru_width=8, dropout=0.1)
    folder = Path("m")
    folder.mkdir()
    made = _of_chance(crnn.Crnn(design))
    crnn.save(made, Scale(torch.full((width,), -6.0), torch.full((width,), 3.0)), folder)
    _features(folder, encoder, ["last"], "emotion", CLASSES)
    return folder


def regressors(
    encoder: str, head: Network, output: Literal["sigmoid", "linear"] = "sigmoid"
) -> Path:
    """What `networks` leaves."""
    width = encoder_of(encoder)[2]
    design = regressor.Design(
        head=head,
        classes=DIMENSIONS,
        means=[3.0, 4.0],
        deviations=[0.5, 1.5],
        joint=False,
        width=width,
        conv=[4, 6],
        lstm_width=5,
        feed_forward=[4],
        attention_scale="sqrt",
        output=output,
        loss="ccc",
    )
    folder = Path("m")
    folder.mkdir()
    parts = {name: regressor.Regressor(design, own) for name, own in design.groups.items()}
    model = regressor.Regressors(parts)
    regression.save(_of_chance(model), Scale(torch.zeros(width), torch.ones(width)), folder)
    _features(folder, encoder, ["last"], "dimensions", DIMENSIONS)
    return folder


def linear(
    encoder: str,
    count: int = 3,
    target: Target = "emotion",
    deviation: bool = False,
    precision: Precision = "fp32",
) -> Path:
    """What `finetune_cached` leaves of planes: of two classes one, of dimensions one each."""
    width = encoder_of(encoder)[2] * (1 + deviation)
    rows = 1 if count == 2 and target == "emotion" else count
    rng = np.random.default_rng(0)
    planes = {
        "mean": rng.standard_normal(width),
        "scale": rng.uniform(0.5, 2, width),
        "weight": rng.standard_normal((rows, width)) / width**0.5,
        "bias": rng.standard_normal(rows),
    }
    if target == "emotion":
        planes["classes"] = np.arange(count)
    folder = Path("m")
    folder.mkdir()
    save_file(planes, folder / "model.safetensors")
    names = (CLASSES if target == "emotion" else DIMENSIONS)[:count]
    _features(folder, encoder, ["last"], target, names, deviation, precision)
    return folder


def _design(encoder: str, method: str, told: dict[str, Any], model: dict[str, Any]) -> Design:
    torch.manual_seed(0)
    place, blocks, width = encoder_of(encoder)
    design = design_of(place, method, told.get("loss", CE), **{"layer": "last", **model})
    shape = {"blocks": blocks, "width": width, "classes": CLASSES}
    return design.model_copy(update={**shape, **told})


def _of_chance(module: Any) -> Any:
    """In eval mode, nothing at a start where it would not matter."""
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_floating_point() and not name.startswith("ratings"):
            with torch.no_grad():
                tensor.add_(0.1 * torch.rand_like(tensor))
    return module.eval()


def _features(  # noqa: PLR0917 - with the names of what is written
    folder: Path,
    encoder: str,
    layers: Sequence[Layer],
    target: Target,
    classes: list[str],
    deviation: bool = False,
    precision: Precision = "fp32",
) -> None:
    place = ENCODERS / encoder
    sha256 = layout.weights_sha256(place)
    Features(
        str(place), sha256, list(layers), deviation, precision, "float16", target, list(classes)
    ).write(folder)


Make = Callable[[], Path]
# Frames of each kind of encoder and front end, and what each method makes of frames: a graph is the
# one and then the other, so that not each of those must meet each of these. Front ends are quick.
EXPORTED: dict[str, Make] = {
    "full, weighted": lambda: whole("large", layer="weighted", told={"loss": AMS}),
    "full, mean-max, dimensions": lambda: whole("hubert", head="mean-max", told=CCC),
    "full, votes": lambda: whole("hubert", told=VOTES, batch_norm=True),
    "lora-qkv, bilstm": lambda: whole("wav2vec2", "lora-qkv", head="bilstm"),
    "full, wavlm": lambda: whole("wavlm", head="attentive", layer=-2),
    "full, data2vec": lambda: whole("data2vec", head="mean-max"),
    "frozen, pool": lambda: head("large", layer="weighted"),
    "frozen, bilstm, whisper": lambda: head("whisper", head="bilstm"),
    "frozen, pool, whisper": lambda: head("whisper", layer=-2),
    "frozen, pool, fbank": lambda: head("fbank"),
    "frozen, bilstm, fbank": lambda: head("fbank", head="bilstm"),
    "frozen, attentive, mfcc, dimensions": lambda: head("mfcc", told=CCC, head="attentive"),
    "lora-classifier, mean-max, mfcc": lambda: head("mfcc", "lora-classifier", head="mean-max"),
    "linear, fp16": lambda: linear("hubert", precision="fp16"),
    "linear, two classes, mfcc": lambda: linear("mfcc", 2),
    "linear, one dimension, fbank": lambda: linear("fbank", 1, "dimensions"),
    "linear, deviation, fbank": lambda: linear("fbank", deviation=True),
    "linear, mfcc": lambda: linear("mfcc"),
    "crnn, fbank": lambda: network("fbank"),
    "crnn, mfcc": lambda: network("mfcc"),
    "cnn-lstm, fbank": lambda: regressors("fbank", "cnn-lstm", output="linear"),
    "cnn-lstm-attention, hubert": lambda: regressors("hubert", "cnn-lstm-attention"),
}
# What has no graph, and what is said.
REFUSED: dict[str, tuple[Make, str]] = {
    "openSMILE": (lambda: linear("opensmile"), "--onnx: openSMILE is a program"),
    "bf16": (
        lambda: linear("hubert", precision="bf16"),
        "--onnx: .* was embedded in bf16",
    ),
}
