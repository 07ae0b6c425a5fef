"""Low-rank adapters on linear layers (Hu et al., 2021), by PEFT.

A module is adapted in place, and what is saved is what PEFT itself loads into the transformers
model of the same architecture.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pipeline.ground.errors import PipelineError
from pipeline.methods.finetuning import LoraParams
from pipeline.training import checkpoint

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
# The query, key and value projections of every block, and the head, in transformers' names.
QKV = ("k_proj", "q_proj", "v_proj")
HEAD = ("classifier", "projector")
# PEFT's names for what it wraps, and for the only adapter.
_WRAPPED, _NAME = "base_model.model.", ".default"


def adapt(module: nn.Module, targets: Sequence[str], params: LoraParams) -> None:
    """Put adapters on the layers called ``targets``; of ``module`` they alone train from now on."""
    from peft import inject_adapter_in_model

    # transformers renamed what PEFT still asks for; there is nothing that a user could do about it.
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    inject_adapter_in_model(_config(targets, params), module)


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """The adapters' weights, by PEFT's names."""
    state = module.state_dict()
    return {name.replace(_NAME, ""): value for name, value in state.items() if "lora_" in name}


def restore(module: nn.Module, found: Mapping[str, Tensor], place: Path) -> None:
    """Load the weights that `tensors` gave, read from ``place``, into a module that `adapt` made.

    Raises:
        PipelineError: They do not fit.
    """
    named = {n: value for n, value in module.state_dict().items() if "lora_" not in n}
    for name, value in found.items():
        layer, _, kind = name.rpartition(".")
        named[f"{layer}{_NAME}.{kind}"] = value
    checkpoint.fill(module, named, place)


def merge(module: nn.Module) -> None:
    """Add the adapters to the weights that they adapt, and take them out, in place."""
    from peft.tuners.lora import LoraLayer

    for name, layer in list(module.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge()
            parent, _, own = name.rpartition(".")
            setattr(module.get_submodule(parent), own, layer.get_base_layer())


def without(module: nn.Module) -> dict[str, Tensor]:
    """The state of ``module`` as it would be without its adapters."""
    state = module.state_dict()
    return {n.replace(".base_layer", ""): v for n, v in state.items() if "lora_" not in n}


def save(
    folder: Path,
    found: Mapping[str, Tensor],
    targets: Sequence[str],
    params: LoraParams,
    saved: Sequence[str] = (),
) -> None:
    """Write an adapter in PEFT's layout, byte for byte the same for the same weights.

    PEFT's own `save_pretrained` orders a set by its hash and records its version.

    Args:
        folder: Exists; the caller publishes it.
        found: Weights by their names in the transformers model.
        targets: The layers that are adapted.
        params: Rank, alpha, dropout.
        saved: The modules that trained beside the adapters and are in ``found`` as a whole.
    """
    from safetensors.torch import save_file

    copies = {_WRAPPED + k: v.detach().cpu().contiguous().clone() for k, v in found.items()}
    save_file(copies, folder / WEIGHTS, {"format": "pt"})
    config = _config(targets, params).to_dict()
    plain = {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()}
    plain |= {"inference_mode": True, "modules_to_save": sorted(saved) or None}
    plain.pop("peft_version", None)
    text = json.dumps(plain, indent=2, sort_keys=True, default=str)
    (folder / CONFIG).write_text(text + "\n", "utf-8")


def read(folder: Path, params: LoraParams) -> dict[str, Tensor]:
    """The weights that `save` wrote.

    Raises:
        PipelineError: They are missing or damaged, or of another rank, whose size is not known.
    """
    path = folder / WEIGHTS
    found = {n.removeprefix(_WRAPPED): value for n, value in checkpoint.read(path).items()}
    ranks = {len(value) for name, value in found.items() if "lora_A" in name}
    if ranks != {params.rank}:
        raise PipelineError(f"{path}: expected rank {params.rank}, got {ranks}, run `dvc repro`")
    return found


def _config(targets: Sequence[str], params: LoraParams) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=params.rank,
        lora_alpha=params.alpha,
        lora_dropout=params.dropout,
        target_modules=list(targets),
    )
