"""The training loop of multitask, retrain and finetune, whatever their batches are made of.

A model here is a module with a ``loss`` of a batch: a sum over its items and their number. A source
makes the batches: `pipeline.waves` reads audio for models with an encoder. The loop sums
gradients over micro-batches and divides once, so that a batch's gradient does not depend on how it
was cut. Every step is seeded from its number, every epoch ends in a checkpoint: a killed run
resumes to the byte-identical result on the CPU.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load_file

from pipeline import batches, checkpoint, files
from pipeline import stage as stages
from pipeline.device import autocast, select
from pipeline.errors import PipelineError
from pipeline.params import load
from pipeline.progress import say
from pipeline.seeds import derive
from pipeline.settings import Training
from pipeline.task import Example

CHECKPOINT = "last.safetensors"
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


@dataclass(frozen=True)
class Fit:
    """One training run: what it trains on, and where."""

    settings: Training
    seed: int
    device: torch.device
    micro_batch_s: float
    folder: Path
    source: Source

    @classmethod
    def prepare(
        cls, stage: str, settings: Training, seed: int, inputs: object, source: Source
    ) -> "Fit":
        """Choose the device, seed the initialisation of new layers, find the scratch folder.

        ``inputs`` is JSON data that, with the stage's code and settings, determines the result.
        """
        runtime = stages.runtime()
        device = select(runtime.device)
        torch.manual_seed(derive(seed, "init"))
        kept = [settings.model_dump(), seed, load("numerics_version", int), device.type]
        folder = files.scratch(stages.resume_key(stage, kept, inputs))
        return cls(settings, seed, device, runtime.micro_batch_s, folder, source)

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
            PipelineError: A loss is not finite; the last good checkpoint stays.
        """
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.Adam(trained, self.settings.learning_rate)
        resumed = checkpoint.restore(self.folder / CHECKPOINT, {"model": model}, optimizer)
        history: list[Scores] = resumed or []
        if history:
            say(f"resumed after epoch {len(history)}")
        for epoch in range(len(history) + 1, self.settings.epochs + 1):
            if self._exhausted(history):
                break
            row = {"epoch": epoch, "train_loss": self._epoch(model, optimizer, train, epoch)}
            history.append(row | (score(dev) if dev else {}))
            say(_line(history[-1], self.settings.epochs))
            if dev and _best(history) == epoch:
                checkpoint.write(self.folder / BEST, model.state_dict())
            checkpoint.save(self.folder / CHECKPOINT, {"model": model}, optimizer, history)
        if dev and history:
            model.load_state_dict(load_file(self.folder / BEST))
        return history

    def discard(self) -> None:
        """Remove the checkpoints, once the result is published."""
        shutil.rmtree(self.folder)

    def batches(self, found: Sequence[Example]) -> Iterator[Any]:
        """The examples in micro-batches, long to short, for scoring and prediction."""
        lengths = [example.clip.duration_s for example in found]
        groups = batches.by_budget(range(len(found)), lengths, self.micro_batch_s)
        return self._read(found, groups, 0)

    def _exhausted(self, history: list[Scores]) -> bool:
        best, patience = _best(history), self.settings.patience
        return bool(best and patience) and len(history) - best >= patience

    def _epoch(
        self, model: Any, optimizer: torch.optim.Optimizer, train: Sequence[Example], epoch: int
    ) -> float:
        """One pass over the training clips; the mean loss."""
        lengths = [example.clip.duration_s for example in train]
        plan = batches.of_epoch(lengths, self.settings.batch, self.seed, epoch)
        cuts = [batches.by_budget(batch, lengths, self.micro_batch_s) for batch in plan]
        reader = self._read(train, [group for groups in cuts for group in groups], epoch)
        model.train()
        sums, weights = [], []
        for step, groups in enumerate(cuts):
            torch.manual_seed(derive(self.seed, "step", epoch, step))
            total, weight = torch.zeros((), device=self.device), 0
            for _ in groups:
                with autocast(self.device, self.settings.precision):
                    loss, items = model.loss(next(reader))
                loss.backward()
                total, weight = total + loss.detach(), weight + items
            _step(optimizer, max(weight, 1))
            sums.append(total)
            weights.append(weight)
        # The losses are read once an epoch: reading each would make the GPU wait for the host.
        losses = torch.stack(sums).cpu().numpy()
        self._require_finite(losses, plan, train, epoch)
        return float(losses.sum() / max(sum(weights), 1))

    def _read(
        self, found: Sequence[Example], groups: Sequence[Sequence[int]], epoch: int
    ) -> Iterator[Any]:
        members = ([found[index] for index in group] for group in groups)
        return self.source.batches(members, self.device, epoch)

    def _require_finite(
        self,
        losses: np.ndarray[Any, Any],
        plan: Sequence[Sequence[int]],
        train: Sequence[Example],
        epoch: int,
    ) -> None:
        bad = np.flatnonzero(~np.isfinite(losses))
        if bad.size:
            step = int(bad[0])
            clips = ", ".join(train[index].clip.clip for index in plan[step][:4])
            raise PipelineError(
                f"epoch {epoch}, step {step + 1}: the loss is {losses[step]} (clips {clips}, ...), "
                "lower learning_rate or use precision fp32; the last checkpoint is kept"
            )


def _step(optimizer: torch.optim.Optimizer, weight: int) -> None:
    """Turn the gradient of a sum into that of a mean, and take the step."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                parameter.grad /= weight
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _best(history: Sequence[Scores]) -> int:
    """The number of the best epoch, the earliest of equals; 0 where nothing was scored on dev."""
    scored = [row for row in history if "dev_loss" in row]
    ranks = [(-row.get("dev_uar", 0.0), row["dev_loss"]) for row in scored]
    return 1 + ranks.index(min(ranks)) if ranks else 0


def _line(row: Scores, epochs: int) -> str:
    scores = ", ".join(f"{name} {value:.4f}" for name, value in row.items() if name != "epoch")
    return f"epoch {row['epoch']:.0f}/{epochs}: {scores}"
