"""What decides the last bits of a result beside its inputs, and whether two machines agree on it.

Kernels are chosen by the CPU: with AVX2 a sum is taken in another order than with AVX-512, by MKL
in another for each maker. So a worker says what it computes with before it is given any work, and
stores of finished work are keyed by it.
"""

import platform
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from os import environ
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

LIBRARIES = (
    "faiss-cpu",
    "faiss-gpu",
    "h5py",
    "librosa",
    "numpy",
    "onnxruntime",
    "opensmile",
    "safetensors",
    "scipy",
    "soundfile",
    "soxr",
    "torch",
    "transformers",
)
# Flags of a CPU by which libraries choose kernels. How large its caches are is not looked at.
FLAGS = ("avx", "avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "asimd", "sve")
# By these, one CPU is made to compute as another.
FORCED = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")


@cache
def cpu() -> str:
    """The maker of this machine's CPU and what kernels it has, or is made to use."""
    path = Path("/proc/cpuinfo")
    text = path.read_text("utf-8") if path.exists() else ""
    lines = (line.partition(":") for line in text.splitlines())
    told = {name.strip(): value.strip() for name, _, value in lines}
    forced = [f"{name}={environ[name]}" for name in FORCED if name in environ]
    flags = (told.get("flags") or told.get("Features", "")).split()
    own = forced or [flag for flag in FLAGS if flag in flags]
    return " ".join([told.get("vendor_id", platform.machine()), *own])


def computer(device: "torch.device") -> str:
    """What computes on a device of torch: the GPU's name, or the CPU and torch's name for it."""
    import torch

    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{cpu()}, {torch.backends.cpu.get_cpu_capability()}"


def libraries() -> dict[str, str]:
    """The versions of Python and of what computes, "none" where it is not installed."""
    return {"Python": platform.python_version()} | {name: _version(name) for name in LIBRARIES}


def difference(node: str, found: Mapping[str, str], own: Mapping[str, str]) -> str:
    """The first that a worker has otherwise than the driver, in words; empty where all is alike."""
    for name, value in own.items():
        if found.get(name) != value:
            return f"{node} has {name} {found.get(name, 'unknown')}, this machine {value}"
    return ""


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"
