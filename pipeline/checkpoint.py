"""Checkpoints of unfinished training: one safetensors file, replaced atomically.

The file holds every module's state, the optimiser's state and the progress. There is no generator
state to keep: the loop seeds each step from its number.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline import files

LAST = "last.safetensors"


@dataclass
class State:
    """A model in training and how far it is: what the checkpoint of a run holds."""

    model: Any
    optimizer: torch.optim.Optimizer
    history: list[dict[str, float]] = field(default_factory=list)  # a row per finished epoch
    # Since then: the summed loss and weight of each model in training, per step.
    steps: list[list[list[float]]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically."""
        progress = {"history": self.history, "steps": self.steps}
        save(path, {"model": self.model}, self.optimizer, progress)

    def restore(self, path: Path) -> None:
        """Go on from the checkpoint at ``path``, where there is a usable one."""
        progress = restore(path, {"model": self.model}, self.optimizer)
        if progress:
            self.history = progress["history"]
            self.steps = progress["steps"]


def save(
    path: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer, progress: Any
) -> None:
    """Write ``path``; ``progress`` is JSON data. A kill leaves the previous file or this one."""
    tensors = {
        f"{name}/{key}": value
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{key}": value for key, value in state.items()}
    write(path, tensors, {"progress": json.dumps(progress)})


def restore(
    path: Path, modules: dict[str, nn.Module], optimizer: torch.optim.Optimizer
) -> Any | None:
    """Load what `save` wrote into modules and optimiser; None where there is no usable file."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            progress = json.loads((file.metadata() or {})["progress"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError):
        return None
    for name, module in modules.items():
        module.load_state_dict(under(f"{name}/", tensors))
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in under("optimizer/", tensors).items():
        index, key = name.split("/")
        state.setdefault(int(index), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return progress


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors, atomically."""
    staged = path.with_name(path.name + "~")
    # Copies on the CPU: cuDNN keeps an LSTM's weights in one storage, which safetensors refuses.
    copies = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    save_file({name: copy.contiguous() for name, copy in copies.items()}, staged, metadata)
    files.replace(staged, path)


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
