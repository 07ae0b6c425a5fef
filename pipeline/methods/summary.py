"""A classifier's parameters block by block, as Table 1 of "Efficient Fine-Tuning Approaches on
HuBERT for Speech Emotion Recognition on Multiple Labels" lists them, and which of them train.

Shapes are those of one second of audio. That table can't be true of HuBERT large: a block of it has
12,596,224 parameters, not 17,958,528, and the table's parts do not add up to its total.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from torch import nn

from pipeline.audio.formats import SAMPLE_RATE_HZ
from pipeline.ground import files
from pipeline.methods.emotion_head import EmotionHead

FILE = "parameters.csv"
Shape = Sequence[int]


@dataclass(frozen=True)
class Row:
    """One block. An indented name is a part of the block above, and is counted there."""

    block: str
    input: str
    output: str
    trainable: int
    total: int


def rows(encoder: Any | None, head: EmotionHead) -> list[Row]:
    """The blocks of a classifier, then their sum; without encoder, the head's alone."""
    frames = _lengths(encoder.config)[-1] if encoder else 1
    found = [*(_encoder(encoder) if encoder else ()), *_head(head, frames)]
    whole = [row for row in found if not row.block.startswith(" ")]
    total = Row("total", "", "", sum(r.trainable for r in whole), sum(r.total for r in whole))
    return [*found, total]


def write(folder: Path, found: Sequence[Row]) -> None:
    """Write ``parameters.csv`` into an existing folder."""
    header = [field.name for field in fields(Row)]
    files.write_csv(folder / FILE, header, [astuple(row) for row in found])


def _encoder(encoder: Any) -> Iterator[Row]:
    config = encoder.config
    width, channels, blocks = config.hidden_size, config.conv_dim[-1], encoder.encoder.layers
    lengths, convolutions = _lengths(config), encoder.feature_extractor.conv_layers
    frames = [1, lengths[-1], width]
    yield _row(
        "feature encoder", [1, lengths[0]], [1, channels, lengths[-1]], [encoder.feature_extractor]
    )
    for first, last in ((0, 0), (1, 4), (5, 6)):
        before = [1, config.conv_dim[first - 1] if first else 1, lengths[first]]
        after = [1, config.conv_dim[last], lengths[last + 1]]
        name = f"  convolutions {first} to {last}" if last > first else f"  convolution {first}"
        yield _row(name, before, after, convolutions[first : last + 1])
    projected = [1, channels, lengths[-1]]
    yield _row("feature projection", projected, frames, [encoder.feature_projection])
    mask = encoder.masked_spec_embed
    yield Row("mask embedding", "", f"[{width}]", mask.numel() * mask.requires_grad, mask.numel())
    yield _row("encoder", frames, frames, [encoder.encoder])
    yield _row("  positional convolution", frames, frames, [encoder.encoder.pos_conv_embed])
    yield _row(f"  block ({len(blocks)}, each)", frames, frames, [blocks[0]])


def _head(head: EmotionHead, frames: int) -> Iterator[Row]:
    width, projection = head.design.width, head.design.model.projection
    if head.design.model.layer == "weighted":
        weights = head.layer_weights
        shape = f"[{len(weights)}]"
        yield Row("layer weights", shape, shape, len(weights) * weights.requires_grad, len(weights))
    pooled, kind = head.design.pooled, head.design.model.head
    if kind == "bilstm":
        yield _row("lstm", [1, frames, width], [1, frames, pooled], [head.lstm])
    elif kind == "attentive":
        yield _row("attention", [1, frames, width], [1, pooled], [head.attention])
    yield _row("projector", [1, pooled], [1, projection], [head.projector])
    if head.design.model.batch_norm:
        yield _row("batch norm", [1, projection], [1, projection], [head.norm])
    yield _row("classifier", [1, projection], [1, len(head.design.classes)], [head.classifier])


def _row(name: str, before: Shape, after: Shape, modules: Iterable[nn.Module]) -> Row:
    parameters = [p for module in modules for p in module.parameters()]
    trainable = sum(p.numel() for p in parameters if p.requires_grad)
    total = sum(p.numel() for p in parameters)
    return Row(name, str(list(before)), str(list(after)), trainable, total)


def _lengths(config: Any) -> list[int]:
    """The samples of one second, and what each convolution leaves of them."""
    found = [SAMPLE_RATE_HZ]
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        found.append((found[-1] - kernel) // stride + 1)
    return found
