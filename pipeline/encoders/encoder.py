"""HuBERT and its relatives: from clips to frames, in extraction, training and prediction alike.

An encoder lies in ``artifacts/encoders/<name>/`` in the hub's layout (``config.json``,
``model.safetensors``, ``preprocessor_config.json``): `save` writes it, `load` reads it, and any
transformers program can. Every forward pass of the project is `hidden`, because transformers' own
lets a clip's frames depend on the batch: base-size models normalise over time in their first
convolution (`feat_extract_norm: group`) and so see the padding of their neighbours.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from pipeline.corpora.manifest import SAMPLE_RATE_HZ
from pipeline.encoders.layers import Layer, index
from pipeline.encoders.layout import CONFIG, FIELD_SAMPLES, HOP_SAMPLES, PREPROCESSOR, WEIGHTS
from pipeline.ground import files
from pipeline.ground.errors import PipelineError

MODELS = {
    "hubert": ("HubertConfig", "HubertModel"),
    "wav2vec2": ("Wav2Vec2Config", "Wav2Vec2Model"),
}
# Masks are drawn by us, and no block is ever skipped. transformers creates the mask embedding only
# where the probability is not zero.
OURS = {"layerdrop": 0.0, "apply_spec_augment": False, "mask_time_prob": 0.05}


def frame_count(samples: int) -> int:
    """The number of frames of a clip; 0 below 400 samples."""
    return max(0, (samples - FIELD_SAMPLES) // HOP_SAMPLES + 1)


def build(settings: Mapping[str, Any]) -> Any:
    """An encoder from the content of a ``config.json``, initialised from torch's global generator.

    Raises:
        PipelineError: It is no encoder that `hidden` knows.
    """
    kind = settings.get("model_type")
    if kind not in MODELS:
        raise PipelineError(f"{CONFIG}: model_type is {kind!r}, expected {' or '.join(MODELS)}")
    config_name, model_name = MODELS[kind]
    config = getattr(transformers, config_name).from_dict({**settings, **OURS})
    hop = math.prod(config.conv_stride)
    if hop != HOP_SAMPLES or _field(config.conv_kernel, config.conv_stride) != FIELD_SAMPLES:
        raise PipelineError(f"{CONFIG}: expected convolutions that hop by {HOP_SAMPLES} samples")
    config._attn_implementation = "sdpa"
    model = getattr(transformers, model_name)(config).eval()
    model.do_normalize = False
    model.recompute = False
    return model


def initialize(settings: Mapping[str, Any], seed: int) -> Any:
    """An untrained encoder; its weights follow from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(settings)


def skeleton(settings: Mapping[str, Any]) -> Any:
    """An encoder to be filled with weights: nothing is initialised, no random number drawn.

    Raises:
        PipelineError: It is no encoder that `hidden` knows.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return build(settings)


def load(folder: Path, freeze_conv: bool = False, recompute: bool = False) -> Any:
    """Read an encoder, in eval mode on the CPU, ready for `hidden` and for training.

    Args:
        folder: What `save` wrote, or a hub snapshot with ``model.safetensors``.
        freeze_conv: No gradient for the convolutional front end, and no memory spent on one.
        recompute: Keep no activations inside blocks in training, compute them again in the
            backward pass (gradient checkpointing): less memory, a third more time, the same bits.

    Raises:
        PipelineError: A file is missing or damaged, or the weights are not those of the config.
    """
    model = skeleton(files.read_json(folder / CONFIG))
    try:
        files.require_intact(folder / WEIGHTS)
        model.load_state_dict(load_file(folder / WEIGHTS), assign=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise PipelineError(f"{folder / WEIGHTS}: {reason}, run `dvc repro encoder`") from None
    model.do_normalize = files.read_json(folder / PREPROCESSOR).get("do_normalize", True)
    model.recompute = recompute
    if freeze_conv:
        model.feature_extractor._freeze_parameters()
    return model


def save(model: Any, folder: Path) -> None:
    """Write an encoder into an existing folder (the caller publishes it), the same bytes always."""
    write_config(model, folder)
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    save_file(state, folder / WEIGHTS, {"format": "pt"})


def write_config(model: Any, folder: Path, changes: Mapping[str, Any] | None = None) -> None:
    """Write an encoder's ``config.json``, with ``changes``, and ``preprocessor_config.json``."""
    config = json.loads(model.config.to_json_string())
    for provenance in ("transformers_version", "_name_or_path", "dtype"):
        config.pop(provenance, None)
    config |= {"architectures": [type(model).__name__], **(changes or {})}
    preprocessor = {
        "do_normalize": model.do_normalize,
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": model.do_normalize,
        "sampling_rate": SAMPLE_RATE_HZ,
    }
    files.write_json(folder / CONFIG, dict(sorted(config.items())))
    files.write_json(folder / PREPROCESSOR, preprocessor)


def prepare(model: Any, wave: Tensor) -> Tensor:
    """Normalise a waveform (samples,) where the encoder's feature extractor does, else return it.

    In NumPy, as transformers does it, so that the bits agree; `hidden` calls it.
    """
    if not model.do_normalize:
        return wave
    samples = wave.detach().cpu().numpy()
    normal = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    return torch.from_numpy(normal)


def hidden(
    model: Any,
    waves: Sequence[Tensor],
    layers: Sequence[Layer],
    masks: Sequence[Tensor] | None = None,
) -> tuple[dict[Layer, Tensor], Tensor]:
    """The frames of clips at some layers; no clip's frames depend on the others.

    The convolutional front end runs per clip; the projection and the blocks run on the padded
    batch under an attention mask, up to the highest layer asked for. One clip alone gives the bits
    of transformers' own forward, a batch differs from that by rounding (about 1e-6). It is
    differentiable, follows the model's train or eval mode, and runs through PEFT's adapters.

    Args:
        model: An encoder of `load`, or one with adapters inside.
        waves: float32 (samples,) each, at 16 kHz, at least 400 samples, on any device; or what
            `front_end` made of one.
        layers: -1 is the raw output of the top block, -2 of the one below; ``last`` is
            ``last_hidden_state``, which for large models is the top layer after a final norm.
        masks: bool (frames,) each: where True, the mask embedding takes the frame's place after
            the feature projection.

    Returns:
        Per layer (clips, frames of the longest clip, width), undefined but finite beyond a clip's
        own frames, and the clips' frames, int64 (clips,) on the CPU: no GPU is waited for.

    Raises:
        PipelineError: There is no such layer.
    """
    features = [wave if wave.ndim == 2 else front_end(model, wave) for wave in waves]
    lengths = [len(frames) for frames in features]
    states = _project(model, pad_sequence(features, batch_first=True))
    if masks is not None:
        masked = pad_sequence(list(masks), batch_first=True).to(states.device)
        states = torch.where(masked[..., None], model.masked_spec_embed.to(states), states)
    counts = torch.tensor(lengths)
    if min(lengths) == max(lengths):
        return _transform(model, states, None, layers), counts
    valid = (torch.arange(max(lengths)) < counts[:, None]).to(states.device)
    # The positional convolution must meet the zeros that it would find beyond the clip alone.
    states = states.masked_fill(~valid[..., None], 0.0)
    return _transform(model, states, valid, layers), counts


def front_end(model: Any, wave: Tensor) -> Tensor:
    """The normalised waveform through the convolutions: (samples,) to (frames, channels).

    Where the front end is frozen, `hidden` takes the result in the waveform's place, so that
    training computes it once a clip and not once an epoch.
    """
    front = model.feature_extractor
    weight = next(front.parameters())
    with torch.set_grad_enabled(torch.is_grad_enabled() and not is_frozen(front)):
        frames: Tensor = front(prepare(model, wave).to(weight)[None])[0].transpose(0, 1)
    return frames


def hidden_of_one(model: Any, features: Tensor, layers: Sequence[Layer]) -> dict[Layer, Tensor]:
    """As `hidden`, of one clip that passed the convolutions, (1, frames, channels): for ONNX."""
    return _transform(model, _project(model, features), None, layers)


def is_frozen(module: torch.nn.Module) -> bool:
    """Whether nothing in the module trains."""
    return not any(parameter.requires_grad for parameter in module.parameters())


def frames_in(wave: Tensor) -> int:
    """The frames that `hidden` makes of a waveform, or of the front end's output."""
    return len(wave) if wave.ndim == 2 else frame_count(len(wave))


def _project(model: Any, features: Tensor) -> Tensor:
    states = model.feature_projection(features)
    # wav2vec 2.0 returns the normalised features too.
    projected: Tensor = states[0] if isinstance(states, tuple) else states
    return projected


def _transform(
    model: Any, states: Tensor, valid: Tensor | None, layers: Sequence[Layer]
) -> dict[Layer, Tensor]:
    """Positions and blocks, up to the highest layer asked for."""
    encoder = model.encoder
    blocks = len(encoder.layers)
    places = {layer: blocks if layer == "last" else index(layer, blocks) for layer in layers}
    final_norm = model.config.do_stable_layer_norm
    attention = None
    if valid is not None:
        # As transformers makes it for SDPA, which first waits for the device to look for padding.
        attention = valid[:, None, None].expand(-1, 1, valid.shape[1], -1)
    states = states + _positions(encoder.pos_conv_embed, states)
    if not final_norm:
        states = encoder.layer_norm(states)
    found = [encoder.dropout(states)]
    for block in encoder.layers[: max(places.values())]:
        if model.training and model.recompute:
            # No state of a generator to keep: no draw in training follows from one.
            found.append(
                checkpoint(
                    block, found[-1], attention, use_reentrant=False, preserve_rng_state=False
                )
            )
        else:
            found.append(block(found[-1], attention_mask=attention))
    frames: dict[Layer, Tensor] = {layer: found[place] for layer, place in places.items()}
    if final_norm and "last" in frames:
        frames["last"] = encoder.layer_norm(frames["last"])
    return frames


def _positions(module: Any, states: Tensor) -> Tensor:
    """The positional convolution, in fp32 where a CPU's bf16 is not to be trusted.

    oneDNN computes noise from a grouped convolution in bf16 on CPUs with AMX, unless a group has a
    multiple of 16 channels, as published encoders do (torch 2.13; base 48, large 64, `tiny` 8).
    """
    convolution = module.conv
    sound = convolution.in_channels // convolution.groups % 16 == 0
    if sound or states.device.type != "cpu":
        found: Tensor = module(states)
        return found
    with torch.autocast("cpu", enabled=False):
        exact: Tensor = module.float()(states.float())
        return exact.to(states.dtype)


def _field(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """The receptive field of stacked convolutions, in samples."""
    field, hop = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        field, hop = field + (kernel - 1) * hop, hop * stride
    return field
