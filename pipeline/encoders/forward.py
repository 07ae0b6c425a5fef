"""The one forward pass: from clips to frames, in extraction, training and prediction alike.

Every one of the project is `hidden`, because transformers' own lets a clip's frames depend on the
batch: base-size models normalise over time in their first convolution (`feat_extract_norm: group`)
and so see the padding of their neighbours.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pipeline.encoders import blocks, packed
from pipeline.encoders.encoder import is_frozen
from pipeline.encoders.kinds import wavlm, whisper
from pipeline.encoders.layers import Layer, depths
from pipeline.encoders.layout import frame_count
from pipeline.ground.errors import PipelineError

PACKED = ("hubert", "wav2vec2")


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

    On a CPU the convolutional front end runs per clip; the projection and the blocks run on the
    padded batch under an attention mask, up to the highest layer asked for. One clip alone gives
    the bits of transformers' own forward, a batch differs from that by rounding (about 1e-6). On a
    GPU clips are packed (`pipeline.encoders.packed`), which differs by rounding always. It is
    differentiable, follows the model's train or eval mode, and runs through PEFT's adapters.

    Args:
        model: An encoder of `load`, or one with adapters inside.
        waves: float32 (samples,) each, at 16 kHz, at least 400 samples, on any device; or what
            `front_ends` made of one.
        layers: -1 is the raw output of the top block, -2 of the one below; ``last`` is
            ``last_hidden_state``, which for large models is the top layer after a final norm.
        masks: bool (frames,) each: where True, the mask embedding takes the frame's place after
            the feature projection.

    Returns:
        Per layer (clips, frames of the longest clip, width), undefined but finite beyond a clip's
        own frames, and the clips' frames, int64 (clips,) on the CPU: no GPU is waited for.

    Raises:
        PipelineError: There is no such layer, or Whisper is to hear more than half a minute, or a
            mask.
    """
    if packs(model):
        found, packing = packed.hidden(model, waves, layers, masks)
        return {k: packing.padded(v) for k, v in found.items()}, torch.tensor(packing.rows)
    if whisper.is_one(model):
        if masks is not None:
            raise PipelineError(
                "params.yaml: pretrained is a Whisper, which takes no masks, name another encoder"
            )
        return _whisper(model, waves, layers)
    features = front_ends(model, waves)
    lengths = [len(frames) for frames in features]
    states = packed.project(model, pad_sequence(features, batch_first=True))
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


def front_ends(model: Any, waves: Sequence[Tensor]) -> list[Tensor]:
    """Normalised waveforms through the convolutions: (samples,) to (frames, channels), each.

    Where the front end is frozen, `hidden` takes the results in the waveforms' place, so that
    training computes them once a clip and not once an epoch.
    """
    if packs(model):
        return packed.front_ends(model, waves)
    return [wave if wave.ndim == 2 else _front_end(model, wave) for wave in waves]


def packs(model: Any) -> bool:
    """Whether clips pass it packed: on a GPU. On a CPU that is slower, and not equal to the bit.

    WavLM's bias of positions is one of padded clips, and so is data2vec's stack of convolutions.
    """
    if model.config.model_type not in PACKED:
        return False
    weight: Tensor = model.feature_projection.projection.weight
    return weight.is_cuda


def hidden_of_one(model: Any, features: Tensor, layers: Sequence[Layer]) -> dict[Layer, Tensor]:
    """As `hidden`, of one clip that passed the convolutions, (1, frames, channels): for ONNX."""
    return _transform(model, packed.project(model, features), None, layers)


def frames_in(wave: Tensor) -> int:
    """The frames that `hidden` makes of a waveform, or of the front end's output."""
    return len(wave) if wave.ndim == 2 else frame_count(len(wave))


def _whisper(
    model: Any, waves: Sequence[Tensor], layers: Sequence[Layer]
) -> tuple[dict[Layer, Tensor], Tensor]:
    """Clip by clip: each fills the half minute that passes the blocks."""
    wanted = depths(layers, len(model.layers))
    found: dict[Layer, list[Tensor]] = {layer: [] for layer in layers}
    for wave in waves:
        states = whisper.states(model, wave, max(wanted.values()))
        for layer, place in wanted.items():
            normed = model.layer_norm(states[place]) if layer == "last" else states[place]
            found[layer].append(normed)
    counts = torch.tensor([whisper.frame_count(len(wave)) for wave in waves])
    return {k: pad_sequence(v, batch_first=True) for k, v in found.items()}, counts


def _front_end(model: Any, wave: Tensor) -> Tensor:
    front = model.feature_extractor
    weight = next(front.parameters())
    with torch.set_grad_enabled(torch.is_grad_enabled() and not is_frozen(front)):
        frames: Tensor = front(prepare(model, wave).to(weight)[None])[0].transpose(0, 1)
    return frames


def _transform(
    model: Any, states: Tensor, valid: Tensor | None, layers: Sequence[Layer]
) -> dict[Layer, Tensor]:
    """Positions and blocks, up to the highest layer asked for."""
    states = states + _positions(model.encoder.pos_conv_embed, states, valid)
    return blocks.pass_through(model, states, layers, **_about(model, states, valid))


def _about(model: Any, states: Tensor, valid: Tensor | None) -> dict[str, Tensor | None]:
    """What the blocks take beside the frames."""
    attention = None
    if valid is not None:
        # As transformers makes it for SDPA, which first waits for the device to look for padding.
        attention = valid[:, None, None].expand(-1, 1, valid.shape[1], -1)
    bias = wavlm.bias(model, states)
    return {"attention_mask": attention} | ({} if bias is None else {"position_bias": bias})


def _positions(module: Any, states: Tensor, valid: Tensor | None = None) -> Tensor:
    """The positional convolution, in fp32 where a CPU's bf16 is not to be trusted.

    oneDNN computes noise from a grouped convolution in bf16 on CPUs with AMX, unless a group has a
    multiple of 16 channels, as published encoders do (torch 2.13; base 48, large 64, `tiny` 8).
    """
    convolution = next(inner for inner in module.modules() if isinstance(inner, torch.nn.Conv1d))
    sound = convolution.in_channels // convolution.groups % 16 == 0
    if sound or states.device.type != "cpu":
        return _embedded(module, states, valid)
    # To give a module the type that it has hinders `torch.export`.
    exact = all(weight.dtype == torch.float32 for weight in module.parameters())
    with torch.autocast("cpu", enabled=False):
        known = module if exact else module.float()
        return _embedded(known, states.float(), valid).to(states.dtype)


def _embedded(module: Any, states: Tensor, valid: Tensor | None) -> Tensor:
    """Of data2vec, each convolution of a stack must meet the zeros that the first one meets."""
    found: Tensor
    if not hasattr(module, "layers"):
        found = module(states)
        return found
    found = states.transpose(1, 2)
    for layer in module.layers:
        found = layer(found if valid is None else found.masked_fill(~valid[:, None], 0.0))
    return found.transpose(1, 2)
