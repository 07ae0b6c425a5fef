"""The processes that train one model together, by Hugging Face Accelerate.

`accelerate launch` or `torchrun` starts one per device; each computes its share of every batch, and
sums of gradients are exchanged. Without them there is one, and nothing here costs anything.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor

from pipeline.work.device import select

Value = TypeVar("Value")
# The first process embeds and clusters a corpus alone, for hours, where torch would give up after
# ten minutes (NCCL) or thirty (Gloo). It is the launcher that ends all where one is lost.
PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class Processes:
    """This process among all of them; the first is the one that writes."""

    index: int = 0
    count: int = 1

    @property
    def main(self) -> bool:
        """Whether this is the one that writes checkpoints, outputs and progress."""
        return self.index == 0

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.count == 1:
            return
        from accelerate.utils import reduce

        summed = reduce(torch.cat([tensor.reshape(-1) for tensor in tensors]), "sum")
        parts = summed.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def from_main(self, compute: Callable[[], Value]) -> Value:
        """What ``compute`` returns on the main process; the others wait for it."""
        if self.count == 1:
            return compute()
        from accelerate.utils import broadcast_object_list

        value: list[Value] = broadcast_object_list([compute() if self.main else None])
        return value[0]


def join(
    device: str, deterministic: bool = True, patience: timedelta = PATIENCE
) -> tuple[Processes, torch.device]:
    """This process and its device; the arguments are those of `device.select`.

    ``patience`` is how long a process waits for the others.

    Raises:
        PipelineError: As `device.select`.
    """
    selected = select(device, deterministic)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes(), selected
    from accelerate import PartialState

    state = PartialState(cpu=selected.type == "cpu", timeout=patience)
    return Processes(state.process_index, state.num_processes), state.device
