"""From a file of frames to units: codebooks of some clips' frames, then a unit for each frame.

The same on a CPU and on a GPU, for the stages `cluster` and `pretrain`.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.embeddings.reader import Embeddings
from pipeline.encoders.layers import Layer
from pipeline.units import codebooks, kmeans, nearest, sampling
from pipeline.units.nearest import Floats, Found


@dataclass(frozen=True)
class Fitting:
    """What codebooks are fitted on, and how; ``key`` is where params.yaml has ``sample``."""

    scales: Sequence[int]
    sample: int
    iterations: int
    seed: int
    key: str

    def codebooks(
        self, frames: Embeddings, layer: Layer, clips: Collection[str], device: str
    ) -> dict[int, Floats]:
        """The codebook of each scale, (centroids, width), from a sample of the clips' frames.

        Raises:
            PipelineError: Too few frames for a scale, or they do not fit the memory of a GPU.
        """
        total = min(self.sample, kmeans.needed(self.scales))
        drawn = frames, layer, clips, total, self.seed
        how = self.scales, self.iterations, self.seed
        if device == "cpu":
            return kmeans.fit(sampling.draw(*drawn), *how)
        from pipeline.units import lloyd
        from pipeline.work.device import within_memory

        with within_memory(device, self.key):
            return lloyd.fit(sampling.draw_on(device, *drawn), *how)


def write_units(
    path: Path,
    frames: Embeddings,
    layer: Layer,
    books: dict[int, Floats],
    device: str,
    see: Callable[[slice, Found], object] | None = None,
) -> None:
    """Write the unit of each frame, exactly, for all clips of the file; ``see`` sees each block.

    ``device`` is as of `nearest.assign`.
    """
    with codebooks.write(path, frames.clips, frames.offsets, list(books)) as units:
        for rows, found in nearest.assign(frames, layer, books, device):
            units.append({scale: numbers for scale, (_, numbers) in found.items()})
            if see:
                see(rows, found)
