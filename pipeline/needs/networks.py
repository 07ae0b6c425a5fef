"""How large the small networks on cached frames are: regressors, `crnn`'s, and heads on encoders.

Each has its parameters, and its operations in a second of audio, where a training step counts three
passes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pipeline.audio.formats import SAMPLE_RATE_HZ
from pipeline.needs.shapes import Shape


@dataclass(frozen=True)
class Size:
    """Parameters, and operations in training on a second of audio."""

    parameters: float
    train_flops: float = 0.0


def regressors(settings: Mapping[str, Any], head: str, shape: Shape, values: int) -> Size:
    """Those of `networks` with one head, of so many values, on frames of a front end or encoder."""
    told = settings["model"]
    widths, lstm = [shape.width, *told["conv"]], told["lstm_width"]
    a_second = SAMPLE_RATE_HZ / shape.hop if shape.hop else 1.0
    inner = [3 * one * other for one, other in pairwise(widths)]
    above = 4 * lstm * (widths[-1] + lstm) + 8 * lstm * lstm
    outer = sum(one * other for one, other in pairwise([lstm, *told["feed_forward"][head]]))
    each = a_second * (sum(inner) + above / 2)  # the LSTM has half the frames
    apart = values if settings["training"]["regressors"] == "separate" else 1
    return Size(apart * (sum(inner) + above + outer), apart * 6 * each)


def crnn(told: Mapping[str, Any], shape: Shape, classes: int) -> Size:
    """The one network of `crnn`."""
    channels, gru = [1, *told["channels"]], told["gru_width"]
    a_second = SAMPLE_RATE_HZ / shape.hop if shape.hop else 1.0
    inner = [9 * one * other for one, other in pairwise(channels)]
    left = channels[-1] * max(1, shape.width >> len(inner))
    above = 6 * gru * (left + gru)
    cells = [a_second * shape.width / 4**level for level in range(len(inner))]
    each = sum(n * cell for n, cell in zip(inner, cells, strict=True))
    each += above * a_second / 2 ** len(inner)
    return Size(sum(inner) + above + 2 * gru * classes, 6 * each)


def head(model: Mapping[str, Any], shape: Shape, outputs: int) -> Size:
    """The head of a fine-tuned encoder, which costs no time beside it."""
    projection, lstm = model["projection"], model.get("lstm_width", 0)
    enters = {"bilstm": 2 * lstm, "attentive": 2 * shape.width, "mean-max": 2 * shape.width}
    kind = model.get("head", "pool")
    inside = 8 * lstm * (shape.width + lstm) if kind == "bilstm" else 0
    return Size(inside + projection * (enters.get(kind, shape.width) + outputs))


def adapters(rank: int, widths: Sequence[int]) -> Size:
    """LoRA: two narrow matrices beside each square one of these widths."""
    return Size(sum(2 * rank * width for width in widths))
