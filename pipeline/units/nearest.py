"""The nearest centroids of frames, on faiss: exact, in float32, on the CPU or one GPU.

`kmeans` fits with it; `cluster` then streams a fold's frames through `assign` to get the units.
"""

import ctypes
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.embeddings.batches import read_ahead
from pipeline.embeddings.hdf5 import finite
from pipeline.embeddings.reader import Embeddings
from pipeline.encoders.layers import Layer
from pipeline.ground.errors import PipelineError
from pipeline.work.cluster import remote
from pipeline.work.cluster.worker import Task

if TYPE_CHECKING:
    from torch import Tensor

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

BLOCK_FRAMES, GPU_BLOCK_FRAMES = 8_192, 65_536
# Distances that exist on a GPU at a time: 1 GiB of them.
BLOCK_DISTANCES = 2**28

# In the place of a device: the workers of runtime.engine ray.
ON_RAY = "ray"

Found = dict[int, tuple[Floats, Ints]]


def nearest(frames: Floats, centroids: Floats) -> tuple[Floats, Ints]:
    """Squared distance to the nearest centroid and that centroid's number, (frames,) each."""
    distances, numbers = nearest_few(frames, centroids, 1)
    return distances[:, 0], numbers[:, 0]


def nearest_few(frames: Floats, centroids: Floats, count: int) -> tuple[Floats, Ints]:
    """The ``count`` nearest centroids, nearest first, (frames, count) each."""
    distances, numbers = _index(centroids).search(frames, count)
    return distances, numbers


def nearest_on_gpu(frames: "Tensor", centroids: "Tensor") -> "tuple[Tensor, Tensor]":
    """As `nearest`, of fp32 tensors on one GPU: nothing passes through the host.

    An index would compare 512 frames at a time, too few for a large GPU: faiss computes all
    distances of a block in one product.
    """
    import torch

    parts = frames.split(max(1, BLOCK_DISTANCES // len(centroids)))
    found = [_pairwise(part, centroids).min(1) for part in parts]
    return torch.cat([one.values for one in found]), torch.cat([one.indices for one in found])


def assign(
    embeddings: Embeddings, layer: Layer, codebooks: Mapping[int, Floats], device: str = "cpu"
) -> Iterator[tuple[slice, Found]]:
    """Stream over all frames: their range, and per scale what `nearest` gives for them.

    ``device`` is ``cpu``, a GPU, or `ON_RAY` for the CPUs of a cluster.

    Raises:
        PipelineError: A chunk is damaged, or a value is not finite; also as `remote.spread`.
    """
    if device not in ("cpu", ON_RAY):
        yield from _assign_on_gpu(embeddings, layer, codebooks, device)
        return
    blocks = list(_blocks(embeddings, BLOCK_FRAMES))

    def read(rows: slice) -> npt.NDArray[Any]:
        stored = embeddings.stored(layer, rows.start, rows.stop)
        embeddings.require_finite(layer, finite(stored))
        return stored

    if device == ON_RAY:
        task = Task(searcher, (dict(codebooks),))
        yield from zip(blocks, remote.spread(task, blocks, read), strict=True)
        return
    search = searcher(codebooks)
    yield from ((rows, search(read(rows))) for rows in blocks)


def searcher(codebooks: Mapping[int, Floats]) -> Callable[[npt.NDArray[Any]], Found]:
    """What finds, per scale, what `nearest` gives for stored frames, (frames, width)."""
    indexes = {scale: _index(centroids) for scale, centroids in codebooks.items()}

    def search(stored: npt.NDArray[Any]) -> Found:
        frames = stored.astype(np.float32, copy=False)
        found = {scale: index.search(frames, 1) for scale, index in indexes.items()}
        return {scale: (d[:, 0], units[:, 0]) for scale, (d, units) in found.items()}

    return search


def _assign_on_gpu(
    embeddings: Embeddings, layer: Layer, codebooks: Mapping[int, Floats], device: str
) -> Iterator[tuple[slice, Found]]:
    """One thread reads a block and another copies one while the one before is compared.

    Frames are copied as they are stored, half as large, and checked on the device: a CPU takes
    four times as long to widen float16 as to read it.
    """
    import torch

    def read(rows: slice) -> "tuple[slice, Tensor]":
        stored = embeddings.stored(layer, rows.start, rows.stop)
        return rows, torch.from_numpy(stored).to(device)

    tensors = {scale: torch.from_numpy(values).to(device) for scale, values in codebooks.items()}
    for rows, stored in read_ahead(read, _blocks(embeddings, GPU_BLOCK_FRAMES), 2):
        frames = stored.float()
        embeddings.require_finite(layer, bool(torch.isfinite(frames).all()))
        found = {scale: nearest_on_gpu(frames, values) for scale, values in tensors.items()}
        yield rows, {k: (d.cpu().numpy(), units.cpu().numpy()) for k, (d, units) in found.items()}


def pick_device(name: str) -> str:
    """``cpu`` or ``cuda:<number>`` for ``runtime.device``; auto is the first GPU, or the CPU.

    Raises:
        PipelineError: A GPU was asked for, or is there, and faiss sees none: left to itself, faiss
            would use the CPU without a word.
    """
    if name == "cpu":
        return name
    gpus = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
    number = int(name.partition(":")[2] or 0)
    if number < gpus:
        return f"cuda:{number}"
    if name == "auto" and not _torch_sees_a_gpu():
        return "cpu"
    raise PipelineError(
        f"params.yaml: runtime.device is {name!r}, but faiss sees {gpus} GPUs, install the "
        "extra gpu in place of cpu, or set it to cpu"
    )


def _torch_sees_a_gpu() -> bool:
    """Whether there is one at all; where there is no driver, torch is not loaded to say so."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()


def _blocks(embeddings: Embeddings, step: int) -> Iterator[slice]:
    total = int(embeddings.offsets[-1])
    for start in range(0, total, step):
        yield slice(start, min(start + step, total))


def _index(centroids: Floats) -> Any:
    index = faiss.IndexFlatL2(centroids.shape[1])
    index.add(centroids)
    return index


def _pairwise(frames: "Tensor", centroids: "Tensor") -> "Tensor":
    """Squared distances, (frames, centroids)."""
    import faiss.contrib.torch_utils
    import torch

    with torch.cuda.device(frames.device):
        distances: Tensor = faiss.pairwise_distance_gpu(_resources(), frames, centroids)
    return distances


@cache
def _resources() -> Any:
    return faiss.StandardGpuResources()
