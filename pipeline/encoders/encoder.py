"""HuBERT and its relatives as files and modules.

An encoder lies in ``artifacts/encoders/<name>/`` in the hub's layout (``config.json``,
``model.safetensors``, ``preprocessor_config.json``): `save` writes it, `load` reads it, and any
transformers program can. What it makes of clips is `pipeline.encoders.forward`.
"""

import json
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.nn.utils import parametrize

from pipeline.audio.formats import SAMPLE_RATE_HZ
from pipeline.encoders import architecture, blocks, layout
from pipeline.encoders.kinds import wavlm, whisper
from pipeline.encoders.layout import CONFIG, PREPROCESSOR, WEIGHTS
from pipeline.ground import files
from pipeline.ground.errors import PipelineError

MODELS = {
    "hubert": ("HubertConfig", "HubertModel"),
    "wav2vec2": ("Wav2Vec2Config", "Wav2Vec2Model"),
    "wavlm": ("WavLMConfig", "WavLMModel"),
    "data2vec-audio": ("Data2VecAudioConfig", "Data2VecAudioModel"),
    "whisper": ("WhisperConfig", "models.whisper.modeling_whisper.WhisperEncoder"),
}
# Masks are drawn by us, and no block is ever skipped. transformers creates the mask embedding only
# where the probability is not zero.
OURS = {"layerdrop": 0.0, "apply_spec_augment": False, "mask_time_prob": 0.05}


def build(found: Any, place: str = CONFIG) -> Any:
    """An encoder from the content of a ``config.json``, initialised from torch's global generator.

    Raises:
        PipelineError: It is no encoder of a known kind, within limits; ``place`` is named.
    """
    settings = architecture.settings(found, place)
    config_name, model_name = MODELS[settings["model_type"]]
    config = getattr(transformers, config_name).from_dict({**settings, **OURS})
    kind = attrgetter(model_name)(transformers)
    config._attn_implementation = blocks.ATTENTION if kind._supports_sdpa else "eager"
    model = kind(config).eval()
    wavlm.install(model)
    model.do_normalize = False
    model.recompute = model.fuse = False
    model.draws = None
    return model


def initialize(settings: Mapping[str, Any], seed: int) -> Any:
    """An untrained encoder; its weights follow from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(settings)


def skeleton(found: Any, place: str = CONFIG) -> Any:
    """An encoder to be filled with weights: nothing is initialised, no random number drawn.

    Raises:
        PipelineError: As `build`.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return build(found, place)


def outline(config: Path) -> Any:
    """A `skeleton` of what a ``config.json`` describes."""
    return skeleton(files.read_json(config), str(config))


def load(folder: Path, freeze_conv: bool = False, recompute: bool = False) -> Any:
    """Read an encoder, in eval mode on the CPU, ready for the forward pass and for training.

    Args:
        folder: What `save` wrote, or a hub snapshot with ``model.safetensors``.
        freeze_conv: No gradient for the convolutional front end, and no memory spent on one.
        recompute: Keep no activations inside blocks in training, compute them again in the
            backward pass (gradient checkpointing): less memory, a third more time, the same bits.

    Raises:
        PipelineError: A file is missing or damaged, or the weights are not those of the config.
    """
    model = outline(folder / CONFIG)
    try:
        with files.unchanged(folder / WEIGHTS):
            files.require_intact(folder / WEIGHTS)
            model.load_state_dict(load_file(folder / WEIGHTS), assign=True)
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise PipelineError(f"{folder / WEIGHTS}: {reason}, run `dvc repro encoder`") from None
    model.do_normalize = layout.do_normalize(folder)
    model.recompute = recompute
    if freeze_conv:
        model.feature_extractor._freeze_parameters()
    return model


def fold(model: Any) -> None:
    """Take the weight norm out of the positional convolution, in place: the same frames.

    It is 6 % of a forward pass, and the same every time where nothing trains.
    """
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight")


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
    files.write_json(folder / CONFIG, dict(sorted(config.items())))
    files.write_json(folder / PREPROCESSOR, _preprocessor(model))


def _preprocessor(model: Any) -> dict[str, Any]:
    if whisper.is_one(model):
        return whisper.preprocessor(model)
    return {
        "do_normalize": model.do_normalize,
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": model.do_normalize,
        "sampling_rate": SAMPLE_RATE_HZ,
    }


def is_frozen(module: torch.nn.Module) -> bool:
    """Whether nothing in the module trains."""
    return not any(parameter.requires_grad for parameter in module.parameters())
