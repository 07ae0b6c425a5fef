"""How large an encoder is, from its settings alone: frames, parameters, arithmetic.

Of a published encoder that is not here yet, its family's published shape stands in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.audio.formats import SAMPLE_RATE_HZ
from pipeline.encoders import frontends, layout
from pipeline.encoders.layers import Layers
from pipeline.ground import files
from pipeline.ground.params import PARAMS_FILE, read

# Blocks, width and feed-forward, by what a repository's name holds; the first that fits. HuBERT,
# wav2vec 2.0, WavLM, data2vec: tables 1 of their papers; DistilHuBERT, Whisper: their config.json.
FAMILIES: Mapping[str, tuple[int, int, int]] = {
    "whisper-base": (6, 512, 2048),
    "whisper-small": (12, 768, 3072),
    "distil": (2, 768, 3072),
    "xlarge": (48, 1280, 5120),
    "large": (24, 1024, 4096),
    "xls-r-300m": (24, 1024, 4096),
    "": (12, 768, 3072),
}
CONV_WIDTH = 512
# Of the convolutions of all of them: taps, and samples between two outputs.
CONVOLUTIONS = ((10, 5), (3, 10), (3, 20), (3, 40), (3, 80), (2, 160), (2, layout.HOP_SAMPLES))
POSITIONS = (128, 16)  # taps and groups of the convolution that tells positions


@dataclass(frozen=True)
class Shape:
    """An encoder, or a front end without blocks; ``hop`` is 0 where a clip is one frame."""

    blocks: int
    width: int
    feed_forward: int = 0
    conv_width: int = 0
    hop: int = layout.HOP_SAMPLES

    @property
    def block_parameters(self) -> int:
        """Of one block: attention, feed-forward, two norms."""
        wide, inner = self.width, self.feed_forward
        return 4 * wide * (wide + 1) + 2 * wide * inner + inner + wide + 4 * wide

    @property
    def parameters(self) -> int:
        """Of all of it, to about a hundredth."""
        if not self.blocks:
            return 0
        conv, (taps, groups) = self.conv_width, POSITIONS
        widths = [1, *[conv] * (len(CONVOLUTIONS) - 1)]
        front = sum(n * a * conv for (n, _), a in zip(CONVOLUTIONS, widths, strict=True))
        positions = taps * self.width**2 // groups
        return front + (conv + 1) * self.width + positions + self.blocks * self.block_parameters

    @property
    def front_flops(self) -> float:
        """Operations of the convolutions in a second of audio."""
        widths = [1, *[self.conv_width] * (len(CONVOLUTIONS) - 1)]
        return sum(
            2.0 * taps * a * self.conv_width * SAMPLE_RATE_HZ / hop
            for (taps, hop), a in zip(CONVOLUTIONS, widths, strict=True)
        )

    @property
    def flops(self) -> float:
        """Operations of one pass over a second of audio, without what grows with its square."""
        if not self.blocks:
            return 0.0
        return self.front_flops + self.block_flops

    @property
    def block_flops(self) -> float:
        """Of which the blocks' own."""
        return 2.0 * self.blocks * self.block_parameters * SAMPLE_RATE_HZ / self.hop

    def frames(self, seconds: float, clips: int) -> float:
        """How many there are of clips that last ``seconds`` together."""
        return seconds * SAMPLE_RATE_HZ / self.hop if self.hop else float(clips)

    def layers(self, kept: Layers) -> int:
        """How many are kept: every block's, what enters the first, and ``last``; or those named."""
        if kept == "all":
            return self.blocks + 2 if self.blocks else 1
        return len(set(kept))


def of(name: str) -> Shape:
    """The shape of an encoder of params.yaml, or of one that `pretrain` makes of another."""
    params = read(PARAMS_FILE.absolute())
    if name not in params["encoder"]:
        return of(params["pretrain"]["start"])
    entry = params["encoder"][name]
    if frontend := frontends.parse(entry):
        return Shape(0, frontend.width, hop=frontend.hop_samples)
    if entry["kind"] == "tiny":
        return Shape(entry["blocks"], entry["width"], entry["feed_forward"], entry["conv_width"])
    for folder in (layout.ENCODERS / name, Path(entry.get("folder", "."))):
        if (folder / layout.CONFIG).is_file():
            return _of_config(files.read_json(folder / layout.CONFIG))
    repository = str(entry.get("repository", "")).lower()
    family = next(sizes for part, sizes in FAMILIES.items() if part in repository)
    return Shape(*family, CONV_WIDTH)


def _of_config(told: Mapping[str, Any]) -> Shape:
    """What a ``config.json`` says; transformers' defaults are those of a base model."""
    if told.get("model_type") == layout.FEATURES_ALONE:
        names, default = ("encoder_layers", "d_model", "encoder_ffn_dim"), FAMILIES["whisper-base"]
    else:
        names = ("num_hidden_layers", "hidden_size", "intermediate_size")
        default = FAMILIES[""]
    blocks, width, inner = (told.get(name, base) for name, base in zip(names, default, strict=True))
    return Shape(blocks, width, inner, told.get("conv_dim", [CONV_WIDTH])[0])
