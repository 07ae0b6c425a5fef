"""What a ``config.json`` may ask for: the settings that fix an encoder, within limits.

The file may be a stranger's. What is not named here takes no part in the encoder, and is left out:
transformers acts on some of it (a number of labels, a type by name). The limits lie well above the
largest published encoders (48 blocks of width 1920).
"""

import math
import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.encoders.layout import CONFIG, FIELD_SAMPLES, HOP_SAMPLES
from pipeline.ground.errors import PipelineError

Width = Annotated[int, Field(ge=1, le=16_384)]
Blocks = Annotated[int, Field(ge=1, le=256)]
Heads = Annotated[int, Field(ge=1, le=1024)]
FeedForward = Annotated[int, Field(ge=1, le=131_072)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Steps = Annotated[list[Annotated[int, Field(ge=1, le=1000)]], Field(min_length=1, max_length=16)]
Taps = Annotated[int, Field(ge=1, le=4096)]
Kind = Literal["hubert", "wav2vec2", "wavlm", "data2vec-audio", "whisper"]
Activation = Literal["gelu", "gelu_new", "gelu_fast", "relu", "silu", "swish", "tanh"]


class Named(BaseModel):
    """The one setting that says which others there are."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)

    model_type: Kind


class Architecture(Named):
    """The settings by transformers' names; those that are not given have its defaults."""

    num_hidden_layers: Blocks = 12
    hidden_size: Width = 768
    num_attention_heads: Heads = 12
    intermediate_size: FeedForward = 3072
    hidden_act: Activation = "gelu"
    hidden_dropout: Fraction = 0.1
    attention_dropout: Fraction = 0.1
    activation_dropout: Fraction = 0.1
    feat_proj_dropout: Fraction = 0.0
    layer_norm_eps: Annotated[float, Field(gt=0, le=1)] = 1e-5
    initializer_range: Fraction = 0.02
    feat_extract_activation: Activation = "gelu"
    conv_dim: Annotated[list[Width], Field(min_length=1, max_length=16)] = [512] * 7
    conv_kernel: Steps = [10, 3, 3, 3, 3, 2, 2]
    conv_stride: Steps = [5, 2, 2, 2, 2, 2, 2]
    conv_bias: bool = False
    num_conv_pos_embedding_groups: Annotated[int, Field(ge=1, le=1024)] = 16
    # Layers that nothing here runs.
    conv_pos_batch_norm: Literal[False] = False
    add_adapter: Literal[False] = False
    adapter_attn_dim: None = None

    @model_validator(mode="after")
    def _fits(self) -> "Architecture":
        if self.hidden_size % self.num_attention_heads:
            raise ValueError("hidden_size must be a multiple of num_attention_heads")
        if self.hidden_size % self.num_conv_pos_embedding_groups:
            raise ValueError("hidden_size must be a multiple of num_conv_pos_embedding_groups")
        if not len(self.conv_dim) == len(self.conv_kernel) == len(self.conv_stride):
            raise ValueError("conv_dim, conv_kernel and conv_stride must be of one length")
        if math.prod(self.conv_stride) != HOP_SAMPLES or self._field() != FIELD_SAMPLES:
            raise ValueError(f"expected convolutions that hop by {HOP_SAMPLES} samples")
        return self

    def _field(self) -> int:
        """The receptive field of the stacked convolutions, in samples."""
        field, hop = 1, 1
        for kernel, stride in zip(self.conv_kernel, self.conv_stride, strict=True):
            field, hop = field + (kernel - 1) * hop, hop * stride
        return field


class Wav2Vec2(Architecture):
    """wav2vec 2.0 and XLS-R."""

    do_stable_layer_norm: bool = False
    feat_extract_norm: Literal["group", "layer"] = "group"
    num_conv_pos_embeddings: Taps = 128


class Hubert(Wav2Vec2):
    """HuBERT and DistilHuBERT."""

    feat_proj_layer_norm: bool = True


class WavLM(Wav2Vec2):
    """WavLM: the bias of positions."""

    num_buckets: Annotated[int, Field(ge=4, le=65_536)] = 320
    max_bucket_distance: Annotated[int, Field(ge=2, le=1_000_000)] = 800

    @model_validator(mode="after")
    def _buckets(self) -> "WavLM":
        if self.max_bucket_distance <= self.num_buckets // 4:  # each of these has its own bucket
            raise ValueError("max_bucket_distance must be above a quarter of num_buckets")
        return self


class Data2VecAudio(Architecture):
    """data2vec: as a base wav2vec 2.0, whatever its published configs say, with more positions."""

    num_conv_pos_embeddings: Annotated[int, Field(ge=1, le=64)] = 5  # convolutions, not taps
    conv_pos_kernel_size: Taps = 19


class Whisper(Named):
    """Whisper's encoder, which always hears half a minute; its decoder is left out."""

    num_mel_bins: Annotated[int, Field(ge=1, le=1024)] = 80
    encoder_layers: Blocks = 4
    d_model: Width = 384
    encoder_attention_heads: Heads = 6
    encoder_ffn_dim: FeedForward = 1536
    activation_function: Activation = "gelu"
    dropout: Fraction = 0.0
    attention_dropout: Fraction = 0.0
    activation_dropout: Fraction = 0.0
    init_std: Fraction = 0.02
    max_source_positions: Literal[1500] = 1500

    @model_validator(mode="after")
    def _fits(self) -> "Whisper":
        if self.d_model % self.encoder_attention_heads:
            raise ValueError("d_model must be a multiple of encoder_attention_heads")
        if self.d_model % 2 or self.d_model < 4:  # positions are pairs of sines and cosines
            raise ValueError("d_model must be even, and 4 or more")
        return self


KINDS: Mapping[Kind, type[Named]] = {
    "hubert": Hubert,
    "wav2vec2": Wav2Vec2,
    "wavlm": WavLM,
    "data2vec-audio": Data2VecAudio,
    "whisper": Whisper,
}


def settings(found: Any, place: str = CONFIG) -> Mapping[str, Any]:
    """What the content of a ``config.json`` fixes.

    Args:
        found: The parsed file, which may hold anything.
        place: What is named where it does not fit.

    Raises:
        PipelineError: It is no encoder that this project knows, or beyond the limits.
    """
    try:
        kind = KINDS[Named.model_validate(found).model_type]
        return kind.model_validate(found).model_dump(exclude_unset=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        told = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        got = "" if first["type"] == "value_error" else f", got {reprlib.repr(first['input'])}"
        what = f"{where}: expected {told}" if where else told
        raise PipelineError(
            f"{place}: {what}{got}, choose an encoder of kind {' or '.join(KINDS)}"
        ) from None
