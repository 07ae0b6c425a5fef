"""The nearest centroids of frames, on faiss: exact, in float32, on the CPU or one GPU.

`clusters` fits with it; `cluster` then streams a fold's frames through `assign` to get the units.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.embeddings.reader import Embeddings
from pipeline.encoders.layers import Layer
from pipeline.ground.errors import PipelineError

# Kernels of OpenBLAS by what a CPU must have for them, the best first.
KERNELS = {"avx512vl": "SKYLAKEX", "avx2": "HASWELL"}


@contextmanager
def _kernels_named() -> Iterator[None]:
    """Tell an OpenBLAS that is loaded meanwhile which kernels suit this CPU.

    faiss-cpu 1.15 brings OpenBLAS 0.3.15 of 2021, which takes a later CPU for one of 2004: a fifth
    as fast. NumPy's knows them, in this process and in those that it starts.
    """
    cpu = Path("/proc/cpuinfo")
    flags = cpu.read_text("utf-8").split() if cpu.exists() else []
    best = next((kernels for flag, kernels in KERNELS.items() if flag in flags), None)
    if best is None or "OPENBLAS_CORETYPE" in os.environ:
        yield
        return
    os.environ["OPENBLAS_CORETYPE"] = best
    try:
        yield
    finally:
        del os.environ["OPENBLAS_CORETYPE"]


try:
    with _kernels_named():
        import faiss
except ImportError:
    raise PipelineError("faiss: not installed, install one of the extras cpu and gpu") from None

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

BLOCK_FRAMES = 8_192


def nearest(frames: Floats, centroids: Floats, device: str = "cpu") -> tuple[Floats, Ints]:
    """Squared distance to the nearest centroid and that centroid's number, (frames,) each."""
    distances, numbers = nearest_few(frames, centroids, 1, device)
    return distances[:, 0], numbers[:, 0]


def nearest_few(
    frames: Floats, centroids: Floats, count: int, device: str = "cpu"
) -> tuple[Floats, Ints]:
    """The ``count`` nearest centroids, nearest first, (frames, count) each."""
    distances, numbers = _index(centroids, device).search(frames, count)
    return distances, numbers


def assign(
    embeddings: Embeddings, layer: Layer, codebooks: Mapping[int, Floats], device: str = "cpu"
) -> Iterator[tuple[slice, dict[int, tuple[Floats, Ints]]]]:
    """Stream over all frames: their range, and per scale what `nearest` gives for them."""
    indexes = {scale: _index(centroids, device) for scale, centroids in codebooks.items()}
    total = int(embeddings.offsets[-1])
    for start in range(0, total, BLOCK_FRAMES):
        rows = slice(start, min(start + BLOCK_FRAMES, total))
        frames = embeddings.rows(layer, rows.start, rows.stop)
        found = {scale: index.search(frames, 1) for scale, index in indexes.items()}
        yield rows, {scale: (d[:, 0], units[:, 0]) for scale, (d, units) in found.items()}


def pick_device(name: str) -> str:
    """``cpu`` or ``cuda:<number>`` for ``runtime.device``; auto is a GPU where faiss sees one.

    Raises:
        PipelineError: A GPU was asked for and faiss sees none; left to itself, faiss would use the
            CPU without a word.
    """
    gpus = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
    number = int(name.partition(":")[2] or 0)
    if name.startswith("cuda") and number >= gpus:
        raise PipelineError(
            f"params.yaml: runtime.device is {name!r}, but faiss sees {gpus} GPUs, install the "
            "extra gpu in place of cpu, or set it to auto or cpu"
        )
    return "cpu" if name == "cpu" or not gpus else f"cuda:{number}"


def _index(centroids: Floats, device: str) -> Any:
    """An exact index; on a GPU on that one card, unsharded, which ``gpu=True`` leaves open."""
    width = centroids.shape[1]
    index = faiss.IndexFlatL2(width) if device == "cpu" else _gpu_index(width, device)
    index.add(centroids)
    return index


def _gpu_index(width: int, device: str) -> Any:
    config = faiss.GpuIndexFlatConfig()
    config.device = int(device.removeprefix("cuda:"))
    config.useFloat16 = False
    return faiss.GpuIndexFlatL2(_resources(), width, config)


@cache
def _resources() -> Any:
    return faiss.StandardGpuResources()
