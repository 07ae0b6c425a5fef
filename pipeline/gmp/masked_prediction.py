"""The retraining model, second stage of GMP-ATL: masked prediction of multi-scale units."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from pipeline.encoders import forward
from pipeline.ground.errors import PipelineError
from pipeline.training import heads, losses
from pipeline.training.masking import Spans
from pipeline.training.waves import Batch
from pipeline.work.device import send
from pipeline.work.seeds import derive

UnitsOf = Callable[[str], npt.NDArray[np.integer[Any]]]


class MaskedPrediction(nn.Module):
    """Encoder and one linear module per scale (GMP-ATL, figure 1b).

    ``units_of`` gives a clip's units, (scales, frames). The mask of a clip follows from the seed,
    the epoch and its id; outside training the epoch is 0, so that dev losses are comparable.
    """

    def __init__(
        self, encoder: Any, scales: list[int], units_of: UnitsOf, spans: Spans, seed: int
    ) -> None:
        super().__init__()
        width = encoder.config.hidden_size
        self.encoder = encoder
        self.projections = nn.ModuleList(heads.two_layers(width, width, k) for k in scales)
        self._units_of = units_of
        self._spans, self._seed = spans, seed

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        """Cross-entropy over masked frames, summed over frames and scales; the masked frames."""
        pairs = list(zip(batch.examples, batch.waves, strict=True))
        units = [self._aligned(example.clip.clip, wave) for example, wave in pairs]
        masks = [
            self._mask(example.clip.clip, u.shape[1], batch.epoch)
            for example, u in zip(batch.examples, units, strict=True)
        ]
        given = [torch.from_numpy(mask) for mask in masks]
        hidden, _ = forward.hidden(self.encoder, batch.waves, ["last"], given)
        # The masked frames of all clips in one row: padding never reaches the loss. Their places
        # are found on the host, where the masks are: a GPU would be waited for.
        places = pad_sequence(given, batch_first=True).flatten().nonzero()[:, 0]
        device = hidden["last"].device
        frames = hidden["last"].flatten(0, 1)[send(places, device)]
        kept = [u[:, mask] for u, mask in zip(units, masks, strict=True)]
        targets = send(torch.from_numpy(np.concatenate(kept, axis=1).astype(np.int64)), device)
        parts = [
            losses.cross_entropy_sum(project(frames), target)
            for project, target in zip(self.projections, targets, strict=True)
        ]
        return torch.stack(parts).sum(), targets.shape[1]

    def _aligned(self, clip: str, wave: Tensor) -> npt.NDArray[np.integer[Any]]:
        units, frames = self._units_of(clip), forward.frames_in(wave)
        if units.shape[1] != frames:
            raise PipelineError(
                f"artifacts/units: clip {clip!r} has {units.shape[1]} units for {frames} frames, "
                "run `dvc repro cluster`"
            )
        return units

    def _mask(self, clip: str, frames: int, epoch: int) -> npt.NDArray[np.bool_]:
        rng = np.random.default_rng(derive(self._seed, "mask", epoch, clip))
        return self._spans.draw(frames, rng)
