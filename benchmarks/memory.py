"""Peak memory of this process or of its GPU."""

from pathlib import Path

import torch


def peak_mib(device: torch.device) -> float:
    """MiB on a GPU; on a CPU of this process alone."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    # getrusage would count what its parent held when it started it.
    status = Path("/proc/self/status").read_text("utf-8")
    return float(status.split("VmHWM:")[1].split()[0]) / 1024
