"""What a device does: how long it works, how much of that it computes, its memory, its rate."""

import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

TYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
TYPES["fp16"] = torch.float16


def seconds(device: torch.device, work: Callable[..., Any], *arguments: Any) -> float:
    """By the clock, until the device is done."""
    wait(device)
    start = time.perf_counter()
    work(*arguments)
    wait(device)
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    """Until the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def idle(
    device: torch.device, taken_s: float, work: Callable[..., Any], *given: Any
) -> float | None:
    """The share of the seconds that work took in which a GPU ran no kernel; None on a CPU."""
    if device.type == "cpu":
        return None
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as trace:
        work(*given)
        torch.cuda.synchronize()
    busy_s = sum(e.self_device_time_total for e in trace.key_averages()) / 1e6
    return max(0.0, 1 - float(busy_s) / taken_s)


def peak_mib(device: torch.device) -> float:
    """MiB that torch held on a GPU; on a CPU those of this process alone."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    # getrusage would count what its parent held when it started it.
    status = Path("/proc/self/status").read_text("utf-8")
    return float(status.split("VmHWM:")[1].split()[0]) / 1024


def reset_peak(device: torch.device) -> None:
    """Measure `peak_mib` anew, without what earlier work left behind."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def matrix_tflops(device: torch.device, precision: str, size: int = 8192) -> float:
    """TFLOP/s of a product of two square matrices: the most that a model could reach."""
    from pipeline.work.device import tf32

    a = torch.randn(size, size, device=device, dtype=TYPES[precision])
    with tf32(precision == "tf32"):
        (a @ a, a @ a)
        taken = seconds(device, lambda: [a @ a for _ in range(10)])
    return 10 * 2 * size**3 / taken / 1e12
