"""One epoch of training: exact gradients of whole batches, however they are cut and shared.

A batch is shared among processes and cut into micro-batches; gradients are summed and divided once
by the weight of the whole. Where memory runs out, micro-batches are halved and the step taken anew.
Losses stay on the device until a line or a checkpoint shows them: reading each would make a GPU
wait for the host.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, product
from typing import Any

import torch
from torch import Tensor

from pipeline.embeddings import batches
from pipeline.ground.errors import PipelineError
from pipeline.ground.progress import Meter, say
from pipeline.training import concordance
from pipeline.training.checkpoint import LAST, State
from pipeline.training.fit import Fit
from pipeline.training.settings import Sampled
from pipeline.work.device import autocast
from pipeline.work.seeds import derive

# A kill costs at most this much of an epoch. When checkpoints are written changes no result.
CHECKPOINT_EVERY_S = 300.0


@dataclass
class Epoch:
    """The epoch after those in the state's history, from the step that the state has reached.

    ``parts`` are the models that train, by what their scores' names end in.
    """

    fit: Fit
    state: State
    parts: Mapping[str, Any]
    train: Sequence[Any]
    unread: list[Tensor] = field(default_factory=list)  # of the latest steps, as State.steps
    saved_s: float = field(default_factory=time.monotonic)

    @cached_property
    def number(self) -> int:
        """From 1."""
        return len(self.state.history) + 1

    @cached_property
    def lengths(self) -> list[float]:
        """Seconds of each training clip."""
        return [item.clip.duration_s for item in self.train]

    @cached_property
    def plan(self) -> list[list[int]]:
        """The batch of each step."""
        settings = self.fit.settings
        balances = isinstance(settings, Sampled) and settings.sampling == "balanced"
        labels = [item.label for item in self.train] if balances else None
        return batches.of_epoch(self.lengths, settings.batch, self.fit.seed, self.number, labels)

    @property
    def done(self) -> int:
        """The number of steps taken."""
        return len(self.state.steps) + len(self.unread)

    def run(self) -> dict[str, float]:
        """Take the remaining steps; return each part's mean loss over the whole epoch.

        Raises:
            PipelineError: A loss is not finite (the last checkpoint is kept), or a single clip does
                not fit the device's memory.
        """
        self.state.model.train()
        while self.done < len(self.plan):
            try:
                self._steps()
            except torch.OutOfMemoryError:
                self._halve()
                torch.cuda.empty_cache()
        means = self._mean_losses()
        self.state.steps = []
        return {f"train_loss{end}": mean for end, mean in zip(self.parts, means, strict=True)}

    def _steps(self) -> None:
        first = self.done
        cuts = [self._cut(batch) for batch in self.plan[first:]]
        groups = ([self.train[i] for i in group] for cut in cuts for group in cut)
        reader = self.fit.source.batches(groups, self.fit.device, self.number)
        seconds = [sum(self.lengths[i] for i in batch) for batch in self.plan[first:]]
        label = f"epoch {self.number}/{self.fit.settings.epochs}"
        with Meter(label, sum(seconds), "s of audio", self.fit.processes.main) as meter:
            for cut, passed in zip(cuts, seconds, strict=True):
                self.unread.append(self._step(reader, len(cut)))
                meter.advance(passed, self._note)
                self._save_if_due()

    def _step(self, reader: Iterator[Any], micro_batches: int) -> Tensor:
        """One step of the optimiser; the whole batch's summed losses and weights, (parts, 2)."""
        fit, state = self.fit, self.state
        torch.manual_seed(derive(fit.seed, "step", self.number, self.done))
        sums = torch.zeros(len(self.parts), 2, device=fit.device)
        with self._batches(reader, micro_batches) as found:
            for batch in found:
                for row, part in enumerate(self.parts.values()):
                    loss, items = self._loss(part, batch)
                    loss.backward()
                    sums[row] += torch.stack([loss.detach(), torch.full_like(loss, items)])
        self._average_gradients(sums)
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        return sums

    @contextmanager
    def _batches(self, reader: Iterator[Any], count: int) -> Iterator[Iterable[Any]]:
        """A step's micro-batches, which pass once before where a loss is of the whole batch."""
        fit, found = self.fit, (self._read(reader) for _ in range(count))
        whole = concordance.within(self.parts.values())
        if not whole or (count == 1 and fit.processes.count == 1):
            yield found
            return
        kept = list(found)

        def passes() -> None:
            for batch, part in product(kept, self.parts.values()):
                self._loss(part, batch)

        with concordance.known(whole, passes, fit.device, fit.processes):
            yield kept

    def _read(self, reader: Iterator[Any]) -> Any:
        with autocast(self.fit.device, self.fit.settings.precision):
            return next(reader)

    def _loss(self, part: Any, batch: Any) -> tuple[Tensor, int]:
        """A part's summed loss and weight of a micro-batch, with the draws of its clips."""
        fit, clips = self.fit, [item.clip.clip for item in batch.examples]
        with autocast(fit.device, fit.settings.precision):
            fit.draws.begin(fit.seed, self.number, clips, fit.device)
            loss: tuple[Tensor, int] = part.loss(batch)
        return loss

    def _average_gradients(self, sums: Tensor) -> None:
        """Turn sums over this process's clips into gradients of the whole batch's mean losses."""
        trained = [[p for p in m.parameters() if p.requires_grad] for m in self.parts.values()]
        if self.fit.processes.count > 1:
            for parameter in chain.from_iterable(trained):  # this process's share may be empty
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
        gradients = [[p.grad for p in part if p.grad is not None] for part in trained]
        self.fit.processes.sum([sums, *chain.from_iterable(gradients)])
        for part, (_, weight) in zip(gradients, sums, strict=True):
            if part:
                torch._foreach_div_(part, weight.clamp(min=1))

    def _cut(self, batch: Sequence[int]) -> list[list[int]]:
        """This process's share of a batch in micro-batches."""
        processes = self.fit.processes
        share = batches.share(batch, self.lengths, processes.index, processes.count)
        return self.fit.cut(share, self.lengths)

    def _halve(self) -> None:
        """Shrink all micro-batches to come until the one that did not fit is halved."""
        self.state.optimizer.zero_grad(set_to_none=True)
        cut = self._cut(self.plan[self.done])
        if max(len(group) for group in cut) == 1:
            clip = self.train[cut[0][0]].clip
            raise PipelineError(
                f"{clip.clip}: {clip.duration_s:.1f} s do not fit the memory of {self.fit.device}, "
                "even alone, set runtime.gradient_checkpointing to true, precision to bf16, or "
                "lower preprocess.max_clip_s"
            )
        passed_s = max(self.fit.passed_s([self.lengths[i] for i in group]) for group in cut)
        self.fit.micro_batch_s = min(passed_s, self.fit.micro_batch_s) / 2
        say(f"out of memory: micro-batches of {self.fit.micro_batch_s:.1f} s from here on")

    def _note(self) -> str:
        means = self._mean_losses()
        self.fit.curve.write(self.state.history, self.state.steps, len(self.plan))
        return f"step {self.done}/{len(self.plan)}, loss {sum(means) / len(means):.4f}"

    def _mean_losses(self) -> list[float]:
        """Each part's mean loss over the epoch so far; waits for the device.

        Raises:
            PipelineError: A step's loss is not finite.
        """
        for step in torch.stack(self.unread).tolist() if self.unread else []:
            for loss, _ in step:
                if not abs(loss) < float("inf"):
                    self._stop(loss)
            self.state.steps.append(step)
        self.unread = []
        totals = torch.tensor(self.state.steps, dtype=torch.float64).sum(0).tolist()
        return [loss / max(weight, 1) for loss, weight in totals]

    def _stop(self, loss: float) -> None:
        step = len(self.state.steps)
        clips = ", ".join(self.train[index].clip.clip for index in self.plan[step][:4])
        raise PipelineError(
            f"epoch {self.number}, step {step + 1}: the loss is {loss} (clips {clips}, ...), "
            "lower learning_rate or use precision fp32; the last checkpoint is kept"
        )

    def _save_if_due(self) -> None:
        if self.fit.processes.main and time.monotonic() - self.saved_s >= CHECKPOINT_EVERY_S:
            self._mean_losses()  # no checkpoint after a loss that is not finite
            self.state.save(self.fit.folder / LAST)
            self.saved_s = time.monotonic()
