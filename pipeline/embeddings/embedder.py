"""An encoder at work in `extraction`: waveforms to the frames and means that are kept.

On a CPU one clip at a time: exact to the bit and, without padding, also the fastest. On a GPU
batches of similar lengths: exact up to rounding.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils import parametrize

from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples
from pipeline.embeddings.batches import by_budget
from pipeline.embeddings.reader import Embedding, Header
from pipeline.encoders import encoder, forward
from pipeline.work.device import dtype, select


class Embedder:
    """Embeds clips with the encoder of a folder, as a header says.

    Args:
        folder: The encoder.
        header: Which layers are kept, in which precision.
        device: That of ``runtime.device``.
        micro_batch_s: Seconds of padded audio that pass a GPU together.

    Raises:
        PipelineError: The encoder is damaged, or the device lacks what the precision needs.

    Attributes:
        device: The device that ``auto`` stands for.
    """

    def __init__(self, folder: Path, header: Header, device: str, micro_batch_s: float) -> None:
        self.device = select(device)
        self._header = header
        self._layers = sorted({*header.frames, *header.means}, key=str)
        self._budget_samples = micro_batch_s * SAMPLE_RATE_HZ
        with _one_thread():
            self._model = self._load(folder, header.precision)

    def _load(self, folder: Path, precision: str) -> Any:
        model = encoder.load(folder)
        # The positional convolution's weight norm, 6 % of a forward pass, is the same every time.
        parametrize.remove_parametrizations(model.encoder.pos_conv_embed.conv, "weight")
        return model.to(self.device, dtype(self.device, precision))

    def __call__(self, waves: Sequence[Samples]) -> list[Embedding]:
        """Embed clips, (samples,) each; the order is kept."""
        found: dict[int, Embedding] = {}
        for batch in self._batches(waves):
            found.update(zip(batch, self._embed([waves[i] for i in batch]), strict=True))
        return [found[i] for i in range(len(waves))]

    def _batches(self, waves: Sequence[Samples]) -> list[list[int]]:
        if self.device.type == "cpu":
            return [[i] for i in range(len(waves))]
        lengths = [len(wave) for wave in waves]
        return by_budget(range(len(waves)), lengths, self._budget_samples)

    @torch.inference_mode()
    def _embed(self, waves: Sequence[Samples]) -> Iterator[Embedding]:
        tensors = [torch.from_numpy(wave) for wave in waves]
        hidden, lengths = forward.hidden(self._model, tensors, self._layers)
        for row, length in enumerate(lengths.tolist()):
            own = {layer: states[row, :length] for layer, states in hidden.items()}
            yield Embedding(
                length,
                {layer: own[layer].float().cpu().numpy() for layer in self._header.frames},
                {layer: _mean(own[layer]) for layer in self._header.means},
            )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Start no OpenMP team: processes forked from this one could never use theirs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _mean(frames: Tensor) -> npt.NDArray[np.float32]:
    mean: npt.NDArray[np.float32] = frames.mean(0, dtype=torch.float64).float().cpu().numpy()
    return mean
