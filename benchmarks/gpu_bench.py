"""What the parts of `benchmarks.gpu` share: the card, clips, encoders, and peers as they come."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks import extract
from benchmarks.device import matrix_tflops
from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples
from pipeline.embeddings.embedder import Embedder
from pipeline.encoders import encoder


@dataclass
class Bench:
    """What the parts share.

    ``folder`` keeps encoders of the ``shapes``, settings by name; ``frames`` and ``scales`` are
    those of k-means, ``hours`` those of a whole extraction; ``tflops`` the card's rates so far.
    """

    device: torch.device
    folder: Path
    waves: list[Samples]
    shapes: dict[str, dict[str, Any]]
    frames: int
    scales: list[int]
    hours: float = 7.0
    tflops: dict[str, float] = field(default_factory=dict)

    def encoder(self, shape: str) -> Path:
        """The folder of an encoder of this shape."""
        folder = self.folder / shape
        if not folder.exists():
            folder.mkdir()
            encoder.save(encoder.initialize(self.shapes[shape], 0), folder)
        return folder

    def embedder(self, shape: str, precision: str) -> Embedder:
        """What embeds with it, the third layer from the top."""
        config = encoder.load(self.encoder(shape)).config
        header = extract.header(precision, config.num_hidden_layers, config.hidden_size)
        return Embedder(self.encoder(shape), header, str(self.device))

    def many(self, length_s_: float) -> list[Samples]:
        """That much audio, of clips that all differ."""
        return extract.cycled(self.waves, length_s_)

    def share(self, gflop: float, taken_s: float, precision: str) -> float:
        """What work reached of the card's rate, which is measured once."""
        if precision not in self.tflops:
            size = 8192 if self.device.type == "cuda" else 512
            self.tflops[precision] = matrix_tflops(self.device, precision, size)
        return float(gflop / taken_s / 1e3 / self.tflops[precision])


def gflop_per_s(config: Any, blocks: int, front_end: bool = True) -> float:
    """Of a forward pass through ``blocks``, per second of audio (a product and a sum are two)."""
    per_s, inward, total = float(SAMPLE_RATE_HZ), 1, 0.0
    for outward, kernel, stride in zip(
        config.conv_dim, config.conv_kernel, config.conv_stride, strict=True
    ):
        per_s /= stride
        total += front_end * per_s * inward * outward * kernel
        inward = outward
    width, feed = config.hidden_size, config.intermediate_size
    grouped = width // config.num_conv_pos_embedding_groups
    total += per_s * width * (inward + config.num_conv_pos_embeddings * grouped)
    total += per_s * blocks * (4 * width**2 + 2 * width * feed)
    return float(2 * total / 1e9)


@contextmanager
def as_it_comes() -> Iterator[None]:
    """Without the settings that make ours repeatable, which would slow a peer."""
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
