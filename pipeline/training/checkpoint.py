"""Checkpoints of unfinished training: safetensors files, each replaced atomically.

The last one holds every module's state, the optimiser's state and the progress; beside it may lie
the best weights so far. There is no generator state to keep: the loop seeds each step from its
number. safetensors has no checksum, so each holds its own (`keep`, `kept`): a damaged one is never
resumed from.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.ground.progress import say

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
        """Write ``path``. A kill leaves the previous file or this one."""
        tensors = {f"model/{key}": value for key, value in self.model.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{key}": value for key, value in state.items()}
        progress = {"history": self.history, "steps": self.steps}
        keep(path, tensors, {"progress": progress, "beside": [one.name for one in _beside(path)]})

    def restore(self, path: Path) -> None:
        """Go on from the checkpoint at ``path``, where there is a usable one.

        It is none where a file is damaged or missing that lay beside it: the history counts on the
        best weights, and a kill may have come while the folder was deleted.
        """
        if not path.is_file():
            return
        found = _read(path)
        beside = found[1]["beside"] if found else []
        lost = [one for one in map(path.with_name, beside) if _read(one) is None]
        if not found or lost:
            say(f"{lost[0] if lost else path}: damaged or missing, training starts anew")
            return
        tensors, progress = found[0], found[1]["progress"]
        self.model.load_state_dict(under("model/", tensors))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in under("optimizer/", tensors).items():
            index, key = name.split("/")
            state.setdefault(int(index), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.history, self.steps = progress["history"], progress["steps"]


def keep(path: Path, tensors: dict[str, Tensor], progress: Any = None) -> None:
    """Write tensors and JSON data that a later run goes on from, with their checksum."""
    copies, text = _copies(tensors), json.dumps(progress)
    _write(path, copies, {"progress": text, "sha256": _digest(copies, text)})


def kept(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Read what `keep` wrote.

    Raises:
        PipelineError: It is missing or damaged.
    """
    found = _read(path)
    if found is None:
        raise PipelineError(f"{path}: damaged, delete its folder and run it again")
    return found


def write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors, atomically."""
    _write(path, _copies(tensors), metadata)


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a published safetensors file.

    Raises:
        PipelineError: It is missing or damaged.
    """
    try:
        with files.unchanged(path):
            files.require_intact(path)
            return dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        told = str(error).splitlines()[0]
        raise PipelineError(f"{path}: no safetensors file ({told}), run `dvc repro`") from None


def fill(module: nn.Module, tensors: Mapping[str, Tensor], place: Path) -> None:
    """Put tensors in the place of a module's own, which may be on the meta device.

    Raises:
        PipelineError: They are not of its names, shapes and types, or not finite.
    """
    expected = module.state_dict()
    for name in (*expected, *(tensors.keys() - expected.keys())):
        want, got = _described(expected.get(name)), _described(tensors.get(name))
        if want != got:
            raise PipelineError(
                f"{place}: expected {name} as {want}, got {got}, it does not fit the settings "
                "beside it, run `dvc repro`"
            )
    if broken := [name for name, values in tensors.items() if not values.isfinite().all()]:
        raise PipelineError(f"{place}: {broken[0]} is not finite, run `dvc repro`")
    # A view of a file is not aligned as memory is, which is in the last bits of a matrix product.
    module.load_state_dict({n: values.clone() for n, values in tensors.items()}, assign=True)


def _described(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)}"


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU: cuDNN has an LSTM's weights in one storage, which safetensors refuses."""
    copies = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    return {name: copy.contiguous() for name, copy in copies.items()}


def _digest(tensors: dict[str, Tensor], progress: str) -> str:
    found = hashlib.sha256(progress.encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _write(path: Path, copies: dict[str, Tensor], metadata: dict[str, str] | None) -> None:
    staged = path.with_name(path.name + "~")
    save_file(copies, staged, metadata)
    files.replace(staged, path)


def _beside(path: Path) -> list[Path]:
    """Whatever else is kept in the folder."""
    return sorted(set(path.parent.glob("*.safetensors")) - {path})


def _read(path: Path) -> tuple[dict[str, Tensor], Any] | None:
    """What `keep` wrote, None where it is missing or not that, but not where it can't be read."""
    if not path.exists():
        return None
    files.require_file(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        intact = metadata["sha256"] == _digest(tensors, metadata["progress"])
        return (tensors, json.loads(metadata["progress"])) if intact else None
    except (SafetensorError, KeyError, ValueError):
        return None
