"""Whisper's encoder (Radford et al., 2023), which hears half a minute, whatever a clip lasts.

Log-mel energies come from transformers' own feature extractor, that fills a clip up with silence to
30 s; 1,500 frames pass the blocks together, and those that begin beyond the clip are dropped. It
takes no mask and is never trained here: half a minute of silence would pass with every clip.
"""

from functools import cache
from typing import Any

from torch import Tensor
from torch.nn import functional
from transformers import WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from pipeline.audio.formats import SAMPLE_RATE_HZ
from pipeline.ground.errors import PipelineError

HOP_SAMPLES = 320  # two hops of the energies: the second convolution has stride 2
MOST_SAMPLES = 480_000
PREFIXES = ("model", "encoder")  # of its keys in a published checkpoint, one within the other


def is_one(model: Any) -> bool:
    """Whether an encoder is Whisper's."""
    return isinstance(model, WhisperEncoder)


def frame_count(samples: int) -> int:
    """The frames that begin within a clip: ``ceil(samples / 320)``."""
    return -(-samples // HOP_SAMPLES)


def energies(wave: Tensor, bands: int) -> Tensor:
    """The log-mel energies of a waveform (samples,) at 16 kHz: (bands, 3000), float32.

    Raises:
        PipelineError: It lasts longer than 30 s.
    """
    if len(wave) > MOST_SAMPLES:
        raise PipelineError(
            f"params.yaml: a clip lasts {len(wave) / SAMPLE_RATE_HZ:.1f} s, but Whisper's encoder "
            f"hears {MOST_SAMPLES // SAMPLE_RATE_HZ}, set preprocess.max_clip_s to 30 or less"
        )
    samples = wave.detach().cpu().numpy()
    made = _extractor(bands)(samples, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
    found: Tensor = made.input_features[0]
    return found


def states(model: Any, wave: Tensor, upto: int) -> list[Tensor]:
    """What enters the first block, and what each of the first ``upto`` gives, raw.

    Args:
        model: A ``WhisperEncoder``.
        wave: float32 (samples,) at 16 kHz, at most 30 s.
        upto: How many blocks are run.

    Returns:
        (frames of the clip, width) each.

    Raises:
        PipelineError: The clip lasts longer than 30 s.
    """
    heard = energies(wave, model.config.num_mel_bins).to(model.conv1.weight)[None]
    found = functional.gelu(model.conv2(functional.gelu(model.conv1(heard)))).transpose(1, 2)
    made = [found + model.embed_positions.weight]
    for block in model.layers[:upto]:
        made.append(block(made[-1], None))
    return [one[0, : frame_count(len(wave))] for one in made]


def preprocessor(model: Any) -> dict[str, Any]:
    """The ``preprocessor_config.json`` of an encoder."""
    return {
        "chunk_length": MOST_SAMPLES // SAMPLE_RATE_HZ,
        "do_normalize": False,
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": model.config.num_mel_bins,
        "hop_length": HOP_SAMPLES // 2,
        "n_fft": 400,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
        "sampling_rate": SAMPLE_RATE_HZ,
    }


@cache
def _extractor(bands: int) -> WhisperFeatureExtractor:
    """The energies' parameters but their number are the same in every published Whisper."""
    return WhisperFeatureExtractor(feature_size=bands)
