"""Which device computes, and in which precision."""

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from shutil import which

import torch
from torch import Tensor

from pipeline.ground.errors import PipelineError


def select(name: str, deterministic: bool = True) -> torch.device:
    """The device of ``runtime.device``; ``auto`` is the first GPU, or the CPU.

    On a GPU, fp32 means fp32: TF32 is switched off in matrix products and convolutions. And the
    same inputs give the same bytes, unless ``deterministic`` (``runtime.deterministic``) is False.

    Raises:
        PipelineError: A GPU was asked for and torch sees none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
            raise PipelineError(
                f"params.yaml: runtime.device is {name!r}, but torch sees "
                f"{torch.cuda.device_count()} GPUs, set it to auto or cpu"
            )
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        # Not warn_only, with which the backward pass of attention stays as it is.
        torch.use_deterministic_algorithms(deterministic)
        # It would write each new tensor twice, to show reads of what was never written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return device


def wake(name: str) -> None:
    """Have the GPU that `select` would choose made ready by a thread, if there is one.

    Its driver and its libraries take a second, in which the host can load much else.
    """
    if name != "cpu" and torch.cuda.is_available():
        device = "cuda" if name == "auto" else name
        threading.Thread(target=_multiply, args=(device,), daemon=True).start()


def _multiply(device: str) -> None:
    # What is wrong with the device shows again, and is told, where it is used.
    with suppress(RuntimeError, AssertionError):
        small = torch.ones(16, 16, dtype=torch.float16, device=device)
        torch.mm(small, small)


def dtype(device: torch.device, precision: str) -> torch.dtype:
    """The type of ``precision``: fp32, bf16 or fp16.

    Raises:
        PipelineError: The device cannot compute in it.
    """
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise PipelineError(
            "params.yaml: precision is bf16, but this GPU has none, set it to fp32, or to fp16 "
            "where embeddings are extracted"
        )
    if precision == "fp16" and device.type != "cuda":
        raise PipelineError(
            f"params.yaml: precision is fp16, which needs a GPU, but the device is {device}, "
            "set it to fp32 or bf16"
        )
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)


def compiler() -> bool:
    """Whether torch finds the C compiler that it makes kernels with."""
    return any(map(which, filter(None, (os.environ.get("CC"), "cc", "gcc", "clang"))))


def send(values: Tensor, device: torch.device) -> Tensor:
    """``values`` on the device; a host that sends to a GPU goes on before they are there.

    A plain copy waits until the GPU has done all that it was told before.
    """
    if device.type != "cuda" or values.is_cuda:
        return values.to(device)
    pinned = values if values.is_pinned() else values.pin_memory()
    return pinned.to(device, non_blocking=True)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context of a forward pass in ``precision``; parameters stay in fp32.

    Raises:
        PipelineError: As `dtype`.
    """
    lower = dtype(device, precision) is torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=lower)


@contextmanager
def tf32(allowed: bool = True) -> Iterator[None]:
    """Matrix products of fp32 in TF32 meanwhile, where a GPU has it."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


@contextmanager
def within_memory(device: str, key: str) -> Iterator[None]:
    """Say which parameter is to be lowered where a GPU's memory runs out meanwhile.

    Raises:
        PipelineError: It did.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise PipelineError(
            f"params.yaml: {key} takes more memory than {device} has, lower it or set "
            "runtime.device to cpu"
        ) from None
