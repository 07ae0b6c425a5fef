"""One training run: its settings, device, batches and processes, and what it measures with them.

A model here is a module with a ``loss`` of a batch: a sum over its items and their number. Several
may train on the same batches, each stopping early on its own: `Together`. A source makes the
batches: `pipeline.training.waves` reads audio for models with an encoder. `pipeline.training.loop`
trains a model by a `Fit`.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.embeddings import batches
from pipeline.ground import locks
from pipeline.ground import stage as stages
from pipeline.ground.live import Curve
from pipeline.ground.params import load
from pipeline.splits.task import Item
from pipeline.training import concordance
from pipeline.training.dropout import Draws
from pipeline.training.settings import Schedule
from pipeline.work.device import autocast, compiler
from pipeline.work.processes import Processes, join
from pipeline.work.seeds import derive

# Seconds that pass together: a few GB with a base model. On a CPU, padding counts.
CPU_S, GPU_S = 60.0, 400.0
# Seconds of audio, over all epochs, from which on compiled blocks save more than they cost.
FUSED_S = 40_000.0


class Batch(Protocol):
    """Clips that pass the model together."""

    @property
    def examples(self) -> Sequence[Any]:
        """The items, in the order of the batch's rows."""


class Source(Protocol):
    """Makes batches of clips, such as `pipeline.training.waves.Waves`."""

    def batches(
        self, groups: Iterable[Sequence[Any]], device: torch.device, epoch: int
    ) -> Iterator[Batch]:
        """One batch per group, in order, on ``device``; ``epoch`` is 0 outside training.

        What is slow and needs no device, a thread does one batch ahead (`batches.read_ahead`).
        """


@runtime_checkable
class Encoding(Source, Protocol):
    """A source of clips that pass an encoder."""

    @property
    def packed(self) -> bool:
        """Whether they pass it packed: then no padding counts."""

    def fuse(self) -> None:
        """Have a GPU compile the encoder's blocks."""


Scores = dict[str, float]


class Together(nn.Module):
    """Models that train on the same batches, by name: the activations of one exist at a time."""

    named: dict[str, Any]

    def __init__(self, models: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models.values())
        self.named = dict(models)


@dataclass
class Fit:
    """One training run: what it trains on, and where."""

    settings: Schedule
    seed: int
    device: torch.device
    micro_batch_s: float
    folder: Path
    source: Source
    processes: Processes = field(default_factory=Processes)
    draws: Draws = field(default_factory=Draws)
    curve: Curve = field(default_factory=Curve)

    @classmethod
    def prepare(
        cls,
        stage: str,
        settings: Schedule,
        seed: int,
        inputs: object,
        source: Source,
        uncut: Sequence[Item] = (),
    ) -> "Fit":
        """Choose the device, seed the initialisation of new layers, find the scratch folder.

        ``inputs`` is JSON data that, with the stage's code and settings, determines the result. A
        batch of ``uncut`` items is one micro-batch: heads on cached embeddings are small.
        """
        runtime = stages.runtime()
        longest_s = max((item.clip.duration_s for item in uncut), default=0.0)
        processes, device = join(runtime.device, runtime.deterministic)
        torch.manual_seed(derive(seed, "init"))
        kept = [settings.model_dump(), seed, load("numerics_version", int), device.type]
        folder = locks.scratch(stages.resume_key(stage, kept, inputs))
        micro_batch_s = settings.batch * longest_s or _together_s(runtime, device)
        return cls(settings, seed, device, micro_batch_s, folder, source, processes)

    def mean_loss(self, model: Any, found: Sequence[Any]) -> float:
        """The model's loss per item over ``found``, without gradients or dropout."""
        return self.mean_losses({"": model}, found)[""]

    def mean_losses(self, parts: Mapping[str, Any], found: Sequence[Any]) -> dict[str, float]:
        """As `mean_loss`, of several models in one pass over ``found``."""
        totals = {end: np.zeros(2) for end in parts}
        for part in parts.values():
            part.eval()

        def passes() -> None:
            totals.update((end, np.zeros(2)) for end in parts)
            for batch in self.batches(found):
                for end, part in parts.items():
                    loss, items = part.loss(batch)
                    totals[end] += float(loss), items

        whole = concordance.within(parts.values())
        with (
            torch.inference_mode(),
            autocast(self.device, self.settings.precision),
            concordance.known(whole, passes, self.device, Processes()),
        ):
            passes()
        return {end: float(loss / max(items, 1)) for end, (loss, items) in totals.items()}

    def outputs(
        self, compute: Callable[[Any], Tensor], found: Sequence[Item]
    ) -> npt.NDArray[np.float32]:
        """What ``compute`` makes of every item's clip, (clips, outputs), in the order given."""
        rows = {item.clip.clip: row for row, item in enumerate(found)}
        order, made = [], []
        with torch.inference_mode(), autocast(self.device, self.settings.precision):
            for batch in self.batches(found):
                order += [rows[item.clip.clip] for item in batch.examples]
                made.append(compute(batch).float().cpu().numpy())
        result: npt.NDArray[np.float32] = np.concatenate(made)
        return result[np.argsort(order)]

    @property
    def packed(self) -> bool:
        """As of `Encoding`; False where clips pass no encoder."""
        return isinstance(self.source, Encoding) and self.source.packed

    def cut(self, indices: Sequence[int], lengths: Sequence[float]) -> list[list[int]]:
        """Clips of ``lengths`` seconds in micro-batches, long to short."""
        if not self.packed:
            return batches.by_budget(indices, lengths, self.micro_batch_s)
        long_to_short = sorted(indices, key=lambda i: (-lengths[i], i))
        return batches.in_order(long_to_short, lengths, self.micro_batch_s)

    def passed_s(self, lengths: Sequence[float]) -> float:
        """The seconds that a micro-batch of these counts."""
        return sum(lengths) if self.packed else max(lengths) * len(lengths)

    def fuse(self, found: Sequence[Item]) -> None:
        """Have a GPU compile the encoder's blocks, where that pays: it takes 15 seconds or more."""
        total_s = self.settings.epochs * sum(item.clip.duration_s for item in found)
        pays = self.device.type == "cuda" and total_s >= FUSED_S and compiler()
        if pays and isinstance(self.source, Encoding) and self.source.packed:
            self.source.fuse()

    def discard(self) -> None:
        """Remove the checkpoints, once the result is published."""
        shutil.rmtree(self.folder)
        locks.release(self.folder)

    def batches(self, found: Sequence[Item]) -> Iterator[Any]:
        """The items in micro-batches, long to short, for scoring and prediction."""
        lengths = [item.clip.duration_s for item in found]
        groups = self.cut(range(len(found)), lengths)
        members = ([found[index] for index in group] for group in groups)
        return self.source.batches(members, self.device, 0)


def _together_s(runtime: stages.Runtime, device: torch.device) -> float:
    """Seconds in a micro-batch."""
    if runtime.micro_batch_s != "auto":
        return runtime.micro_batch_s
    return GPU_S if device.type == "cuda" else CPU_S
