"""An encoder at work in `extraction`: waveforms to the frames and means that are kept.

On a CPU one clip at a time: exact to the bit and, without padding, also the fastest. On a GPU
packed, minutes of audio together: exact up to rounding. There `Embedder.begin` returns before the
device has computed, so that the host decodes, writes and starts the next meanwhile.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples
from pipeline.embeddings.batches import GROUP_S, in_order
from pipeline.embeddings.reader import Embedding, Header, Run
from pipeline.encoders import encoder, forward, packed
from pipeline.ground.errors import PipelineError
from pipeline.ground.progress import say
from pipeline.work.device import dtype, select


class Embedder:
    """Embeds clips with the encoder of a folder, as a header says.

    Args:
        folder: The encoder.
        header: Which layers are kept, in which precision.
        device: That of ``runtime.device``.
        group_s: Seconds of audio that pass a GPU together; halved where its memory runs out.

    Raises:
        PipelineError: The encoder is damaged, or the device lacks what the precision needs.

    Attributes:
        device: The device that ``auto`` stands for.
    """

    def __init__(self, folder: Path, header: Header, device: str, group_s: float = GROUP_S) -> None:
        self.device = select(device)
        self._header = header
        self._layers = sorted({*header.frames, *header.means}, key=str)
        self._budget_samples = group_s * SAMPLE_RATE_HZ
        self._copies = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        with _one_thread():
            self._model = self._load(folder, header.precision)

    def _load(self, folder: Path, precision: str) -> Any:
        model = encoder.load(folder)
        encoder.fold(model)
        return model.to(self.device, dtype(self.device, precision))

    def __call__(self, waves: Sequence[Samples]) -> list[Embedding]:
        """Embed clips, (samples,) each; the order is kept.

        Raises:
            PipelineError: A single clip does not fit the memory of the GPU.
        """
        return [embedding for run in self.begin(waves)() for embedding in run.clips()]

    def begin(self, waves: Sequence[Samples]) -> Callable[[], list[Run]]:
        """Have a GPU start on clips; what is returned waits for them.

        On a CPU, and with an encoder that packs no clips, it computes them one by one.

        Raises:
            PipelineError: As above.
        """
        if not forward.packs(self._model):
            return lambda: [Run.of(self._alone(wave)) for wave in waves]
        lengths = [len(wave) for wave in waves]
        groups = in_order(range(len(waves)), lengths, self._budget_samples)
        begun = [self._together([waves[index] for index in group]) for group in groups]
        return lambda: [run for finish in begun for run in finish()]

    @torch.inference_mode()
    def _alone(self, wave: Samples) -> Embedding:
        hidden, _ = forward.hidden(self._model, [torch.from_numpy(wave)], self._layers)
        own = {layer: states[0] for layer, states in hidden.items()}
        return Embedding(
            len(own[self._layers[0]]),
            {layer: own[layer].float().cpu().numpy() for layer in self._header.frames},
            {layer: _mean(own[layer]) for layer in self._header.means},
        )

    def _together(self, waves: Sequence[Samples]) -> Callable[[], list[Run]]:
        """As `begin`, of clips that fit the device, or of fewer and fewer of them until they do."""
        try:
            return self._packed(waves)
        except torch.OutOfMemoryError:
            seconds = sum(map(len, waves)) / SAMPLE_RATE_HZ
        if len(waves) == 1:
            raise PipelineError(
                f"{self.device}: a clip of {seconds:.1f} s does not fit its memory, even alone, "
                "set precision to fp16, or lower preprocess.max_clip_s"
            )
        torch.cuda.empty_cache()
        self._budget_samples = seconds * SAMPLE_RATE_HZ / 2
        say(f"out of memory: groups of {seconds / 2:.1f} s from here on")
        return self.begin(waves)

    @torch.inference_mode()
    def _packed(self, waves: Sequence[Samples]) -> Callable[[], list[Run]]:
        tensors = [torch.from_numpy(wave) for wave in waves]
        hidden, packing = packed.hidden(self._model, tensors, self._layers)
        # NumPy has no bfloat16; float16 is what is stored, as a rule, and half the way.
        wire = torch.float16 if self._header.precision == "fp16" else torch.float32
        frames = {layer: hidden[layer].to(wire) for layer in self._header.frames}
        means = {layer: packing.mean(hidden[layer]) for layer in self._header.means}
        on_host, wait = self._to_host([*frames.values(), *means.values()])

        def finish() -> list[Run]:
            wait()
            found = [copy.numpy() for copy in on_host]
            own = dict(zip(frames, found[: len(frames)], strict=True))
            return [Run(packing.rows, own, dict(zip(means, found[len(frames) :], strict=True)))]

        return finish

    def _to_host(self, found: Sequence[Tensor]) -> tuple[list[Tensor], Callable[[], None]]:
        """Copies in pinned memory, made while the next group computes, and what waits for them."""
        if self._copies is None:
            return list(found), lambda: None
        self._copies.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._copies):
            copies = []
            for values in found:
                copies.append(torch.empty_like(values, device="cpu", pin_memory=True))
                copies[-1].copy_(values, non_blocking=True)
                values.record_stream(self._copies)
            done = self._copies.record_event()
        return copies, done.synchronize


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
