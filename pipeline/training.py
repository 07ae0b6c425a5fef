"""The training loop of multitask, retrain and finetune, whatever their batches are made of.

A model here is a module with a ``loss`` of a batch: a sum over its items and their number. A source
makes the batches: `pipeline.waves` reads audio for models with an encoder. What happens within an
epoch is `pipeline.epoch`. Every draw is seeded from its name, and checkpoints hold all progress: a
killed run resumes to the byte-identical result on the CPU. Of several processes (`accelerate
launch`, `torchrun`) the main one scores dev and writes.
"""

import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from pipeline import batches, checkpoint, dropout, files
from pipeline import stage as stages
from pipeline.device import autocast
from pipeline.dropout import Draws
from pipeline.epoch import Epoch
from pipeline.errors import PipelineError
from pipeline.params import load
from pipeline.processes import Processes, join
from pipeline.progress import say
from pipeline.seeds import derive
from pipeline.settings import Optimization
from pipeline.task import Example

BEST = "best.safetensors"


class Batch(Protocol):
    """Clips that pass the model together."""

    @property
    def examples(self) -> Sequence[Example]:
        """The clips, in the order of the batch's rows."""


class Source(Protocol):
    """Makes batches of clips, such as `pipeline.waves.Waves`."""

    def batches(
        self, groups: Iterable[Sequence[Example]], device: torch.device, epoch: int
    ) -> Iterator[Batch]:
        """One batch per group, in order, on ``device``; ``epoch`` is 0 outside training.

        What is slow and needs no device, a thread does one batch ahead (`batches.read_ahead`).
        """


Scores = dict[str, float]
Score = Callable[[Sequence[Example]], Scores]


@dataclass
class Fit:
    """One training run: what it trains on, and where."""

    settings: Optimization
    seed: int
    device: torch.device
    micro_batch_s: float
    folder: Path
    source: Source
    processes: Processes = field(default_factory=Processes)
    draws: Draws = field(default_factory=Draws)

    @classmethod
    def prepare(
        cls, stage: str, settings: Optimization, seed: int, inputs: object, source: Source
    ) -> "Fit":
        """Choose the device, seed the initialisation of new layers, find the scratch folder.

        ``inputs`` is JSON data that, with the stage's code and settings, determines the result.
        """
        runtime = stages.runtime()
        processes, device = join(runtime.device)
        torch.manual_seed(derive(seed, "init"))
        kept = [settings.model_dump(), seed, load("numerics_version", int), device.type]
        folder = files.scratch(stages.resume_key(stage, kept, inputs))
        return cls(settings, seed, device, runtime.micro_batch_s, folder, source, processes)

    def mean_loss(self, model: Any, found: Sequence[Example]) -> float:
        """The model's loss per item over ``found``, without gradients or dropout."""
        model.eval()
        total, weight = 0.0, 0
        with torch.inference_mode(), autocast(self.device, self.settings.precision):
            for batch in self.batches(found):
                loss, items = model.loss(batch)
                total, weight = total + float(loss), weight + items
        return total / max(weight, 1)

    def run(
        self, model: Any, train: Sequence[Example], dev: Sequence[Example], score: Score
    ) -> list[Scores]:
        """Train ``model`` in place; return one row of scores per epoch.

        With a dev role, the weights of the best dev epoch are left in the model (highest
        ``dev_uar`` where the score has one, else lowest ``dev_loss``); without, the last epoch's.

        Raises:
            PipelineError: As `Epoch.run`, or a weight or score is not finite after an epoch.
        """
        dropout.install(model, self.draws)
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(trained, self.settings.learning_rate, fused=True)
        state = checkpoint.State(model, optimizer)
        state.restore(self.folder / checkpoint.LAST)
        history = state.history
        if history or state.steps:
            self._say(f"resumed after epoch {len(history)}, step {len(state.steps)}")
        while len(history) < self.settings.epochs and not self._exhausted(history):
            for group in optimizer.param_groups:
                group["lr"] = self.settings.rate(len(history) + 1)
            row = {"epoch": len(history) + 1, "train_loss": Epoch(self, state, train).run()}
            history.append(row | (self.processes.from_main(lambda: score(dev)) if dev else {}))
            _require_finite(history[-1], trained)
            self._say(_line(history[-1], self.settings.epochs))
            self._save(state, bool(dev) and _best(history) == len(history))
        if dev and history and self.processes.main:
            model.load_state_dict(checkpoint.kept(self.folder / BEST)[0])
        return history

    def discard(self) -> None:
        """Remove the checkpoints, once the result is published."""
        shutil.rmtree(self.folder)

    def batches(self, found: Sequence[Example]) -> Iterator[Any]:
        """The examples in micro-batches, long to short, for scoring and prediction."""
        lengths = [example.clip.duration_s for example in found]
        groups = batches.by_budget(range(len(found)), lengths, self.micro_batch_s)
        members = ([found[index] for index in group] for group in groups)
        return self.source.batches(members, self.device, 0)

    def _exhausted(self, history: list[Scores]) -> bool:
        best, patience = _best(history), self.settings.patience
        return bool(best and patience) and len(history) - best >= patience

    def _save(self, state: checkpoint.State, best: bool) -> None:
        if not self.processes.main:
            return
        if best:
            checkpoint.keep(self.folder / BEST, state.model.state_dict())
        state.save(self.folder / checkpoint.LAST)

    def _say(self, line: str) -> None:
        if self.processes.main:
            say(line)


def _require_finite(row: Scores, trained: Sequence[torch.Tensor]) -> None:
    """Stop where the epoch's last step diverged, which no loss of a later step tells of."""
    weights = torch.stack([parameter.detach().isfinite().all() for parameter in trained]).all()
    if not (weights and all(math.isfinite(value) for value in row.values())):
        raise PipelineError(
            f"epoch {row['epoch']:.0f}: training diverged, its scores or weights are not finite, "
            "lower learning_rate or use precision fp32; the last checkpoint is kept"
        )


def _best(history: Sequence[Scores]) -> int:
    """The number of the best epoch, the earliest of equals; 0 where nothing was scored on dev."""
    scored = [row for row in history if "dev_loss" in row]
    ranks = [(-row.get("dev_uar", 0.0), row["dev_loss"]) for row in scored]
    return 1 + ranks.index(min(ranks)) if ranks else 0


def _line(row: Scores, epochs: int) -> str:
    scores = ", ".join(f"{name} {value:.4f}" for name, value in row.items() if name != "epoch")
    return f"epoch {row['epoch']:.0f}/{epochs}: {scores}"
