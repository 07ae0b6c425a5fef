"""Low-rank adapters on the encoder's attention (Hu et al., 2021), by PEFT."""

import json
import warnings
from pathlib import Path
from typing import Any

from pipeline import files

# The query, key and value projections of every block, in transformers' names.
WEIGHTS = "adapter_model.safetensors"
QKV = ("q_proj", "k_proj", "v_proj")


def adapt(encoder: Any, rank: int, alpha: float, dropout: float) -> Any:
    """Wrap ``encoder`` so that only the adapters on Q, K and V train; return the PEFT model.

    The encoder is changed in place: `get_base_model()` of the result is the module to run.
    """
    from peft import LoraConfig, get_peft_model

    # transformers renamed what PEFT still asks for; there is nothing that a user could do about it.
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(QKV))
    return get_peft_model(encoder, config)


def save(adapted: Any, folder: Path) -> None:
    """Write the adapters in PEFT's layout, byte for byte the same for the same weights.

    PEFT's own `save_pretrained` orders a set by its hash and records its version.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir()
    state = get_peft_model_state_dict(adapted)
    save_file({k: v.detach().cpu().clone() for k, v in state.items()}, folder / WEIGHTS)
    config = adapted.peft_config["default"].to_dict()
    plain = {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()}
    plain |= {"base_model_name_or_path": None, "inference_mode": True}
    plain.pop("peft_version", None)
    text = json.dumps(plain, indent=2, sort_keys=True, default=str)
    (folder / "adapter_config.json").write_text(text + "\n", "utf-8")


def restore(adapted: Any, folder: Path) -> None:
    """Load the adapters that `save` wrote into a model that `adapt` made."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    files.require_intact(folder / WEIGHTS)
    set_peft_model_state_dict(adapted, load_file(folder / WEIGHTS))
