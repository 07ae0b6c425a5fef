"""The training loop of every stage that trains, whatever its batches are made of.

A model here is a module with a ``loss`` of a batch: a sum over its items and their number. Several
may train on the same batches, each stopping early on its own: a ``ModuleDict`` of them. A source
makes the batches: `pipeline.training.waves` reads audio for models with an encoder. What happens
within an epoch is `pipeline.training.epoch`. Every draw is seeded from its name, and checkpoints
hold all progress: a killed run resumes to the byte-identical result on the CPU. Of several
processes (`accelerate launch`, `torchrun`) the main one scores dev and writes.
"""

import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.corpora.manifest import Clip
from pipeline.embeddings import batches
from pipeline.ground import files
from pipeline.ground import stage as stages
from pipeline.ground.errors import PipelineError
from pipeline.ground.live import Curve
from pipeline.ground.params import load
from pipeline.ground.progress import say
from pipeline.training import checkpoint, dropout
from pipeline.training.dropout import Draws
from pipeline.training.epoch import Epoch
from pipeline.training.settings import Optimization, Schedule
from pipeline.work.device import autocast
from pipeline.work.processes import Processes, join
from pipeline.work.seeds import derive


class Item(Protocol):
    """What takes part: an `Example` or a `Sample`."""

    @property
    def clip(self) -> Clip:
        """The clip."""


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


Scores = dict[str, float]


class Together(nn.Module):
    """Models that train on the same batches, by name: the activations of one exist at a time."""

    named: dict[str, Any]

    def __init__(self, models: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models.values())
        self.named = dict(models)


def parts_of(model: nn.Module) -> dict[str, nn.Module]:
    """What stops early on its own, by what its scores' names end in."""
    if isinstance(model, Together):
        return {f"_{name}": part for name, part in model.named.items()}
    return {"": model}


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
        processes, device = join(runtime.device)
        torch.manual_seed(derive(seed, "init"))
        kept = [settings.model_dump(), seed, load("numerics_version", int), device.type]
        folder = files.scratch(stages.resume_key(stage, kept, inputs))
        micro_batch_s = settings.batch * longest_s or runtime.micro_batch_s
        return cls(settings, seed, device, micro_batch_s, folder, source, processes)

    def mean_loss(self, model: Any, found: Sequence[Any]) -> float:
        """The model's loss per item over ``found``, without gradients or dropout."""
        return self._mean_losses({"": model}, found)[""]

    def _mean_losses(self, parts: Mapping[str, Any], found: Sequence[Any]) -> dict[str, float]:
        """As `mean_loss`, of several models in one pass over ``found``."""
        totals = {end: np.zeros(2) for end in parts}
        for part in parts.values():
            part.eval()
        with torch.inference_mode(), autocast(self.device, self.settings.precision):
            for batch in self.batches(found):
                for end, part in parts.items():
                    loss, items = part.loss(batch)
                    totals[end] += float(loss), items
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

    def run(
        self,
        model: Any,
        train: Sequence[Any],
        dev: Sequence[Any],
        score: Callable[[], Scores] | None = None,
        target: Path | None = None,
    ) -> list[Scores]:
        """Train ``model`` in place; return one row of scores per epoch.

        ``score`` measures an epoch on dev, by default the model's own loss. With a dev role and
        settings that choose by it (`Optimization`), the weights of the best dev epoch are left in
        the model (highest ``dev_uar`` where the score has one, else lowest ``dev_loss``); else the
        last epoch's. While it trains, its curve bears the name of ``target``, its output.

        Raises:
            PipelineError: As `Epoch.run`, or a weight or score is not finite after an epoch, or
                processes on several nodes do not see the same checkpoint.
        """
        parts = parts_of(model)

        def measure() -> Scores:
            if score:
                return score()
            losses = self._mean_losses(training, dev)
            return {f"dev_loss{end}": loss for end, loss in losses.items()}

        dropout.install(model, self.draws)
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(trained, self.settings.learning_rate, fused=True)
        state = checkpoint.State(model, optimizer)
        state.restore(self.folder / checkpoint.LAST)
        self._require_same_start(state)
        history = state.history
        if self.processes.main:
            self.curve = Curve(target)
        self.curve.write(history, now=True)
        if history or state.steps:
            self._say(f"resumed after epoch {len(history)}, step {len(state.steps)}")
        while len(history) < self.settings.epochs:
            training = {e: p for e, p in parts.items() if not self._exhausted(history, e)}
            if not training:
                break
            for group in optimizer.param_groups:
                group["lr"] = self.settings.rate(len(history) + 1)
            row = {"epoch": len(history) + 1, **Epoch(self, state, training, train).run()}
            history.append(row | (self.processes.from_main(measure) if dev else {}))
            _require_finite(history[-1], trained)
            self._say(_line(history[-1], self.settings.epochs))
            self._save(state, parts)
            self.curve.write(history)
        self.curve.write(history, now=True)
        if self.processes.main:
            for end, part in parts.items():
                if self._best(history, end):
                    part.load_state_dict(checkpoint.kept(self._best_path(parts, end))[0])
        return history

    def discard(self) -> None:
        """Remove the checkpoints, once the result is published."""
        shutil.rmtree(self.folder)

    def batches(self, found: Sequence[Item]) -> Iterator[Any]:
        """The items in micro-batches, long to short, for scoring and prediction."""
        lengths = [item.clip.duration_s for item in found]
        groups = batches.by_budget(range(len(found)), lengths, self.micro_batch_s)
        members = ([found[index] for index in group] for group in groups)
        return self.source.batches(members, self.device, 0)

    def _require_same_start(self, state: checkpoint.State) -> None:
        """Stop where nodes share no scratch folder: the first one alone writes checkpoints."""
        here = len(state.history), len(state.steps)
        first = self.processes.from_main(lambda: here)
        if here != first:
            raise PipelineError(
                f"{self.folder}: has a checkpoint of epoch {here[0]}, step {here[1]}, but the "
                f"first node has one of epoch {first[0]}, step {first[1]}, set SER_SCRATCH to a "
                "folder that all nodes share"
            )

    def _exhausted(self, history: list[Scores], end: str) -> bool:
        best = self._best(history, end)
        patience = self.settings.patience if isinstance(self.settings, Optimization) else 0
        return bool(best and patience) and len(history) - best >= patience

    def _best(self, history: Sequence[Scores], end: str) -> int:
        """The number of the best epoch, the earliest of equals; 0 where dev chooses none."""
        scored = [row for row in history if f"dev_loss{end}" in row]
        if not (scored and isinstance(self.settings, Optimization)):
            return 0
        ranks = [(-row.get(f"dev_uar{end}", 0.0), row[f"dev_loss{end}"]) for row in scored]
        return 1 + ranks.index(min(ranks))

    def _save(self, state: checkpoint.State, parts: Mapping[str, nn.Module]) -> None:
        if not self.processes.main:
            return
        for end, part in parts.items():
            if self._best(state.history, end) == len(state.history):
                checkpoint.keep(self._best_path(parts, end), part.state_dict())
        state.save(self.folder / checkpoint.LAST)

    def _best_path(self, parts: Mapping[str, nn.Module], end: str) -> Path:
        return self.folder / f"best{[*parts].index(end)}.safetensors"  # a name may hold anything

    def _say(self, line: str) -> None:
        if self.processes.main:
            say(line)


def _require_finite(row: Scores, trained: Sequence[Tensor]) -> None:
    """Stop where the epoch's last step diverged, which no loss of a later step tells of."""
    weights = torch.stack([parameter.detach().isfinite().all() for parameter in trained]).all()
    if not (weights and all(math.isfinite(value) for value in row.values())):
        raise PipelineError(
            f"epoch {row['epoch']:.0f}: training diverged, its scores or weights are not finite, "
            "lower learning_rate or use precision fp32; the last checkpoint is kept"
        )


def _line(row: Scores, epochs: int) -> str:
    scores = ", ".join(f"{name} {value:.4f}" for name, value in row.items() if name != "epoch")
    return f"epoch {row['epoch']:.0f}/{epochs}: {scores}"
