"""Training regressors of emotion shares on cached frames, all of them on each batch.

Between the batches of `pipeline.cached` and the stage `share`. Every regressor passes over the same
batch in turn, so that reading and padding happen once, and the activations of one regressor exist
at a time. Each stops early on its own dev loss. Every epoch ends in a checkpoint, and nothing is
drawn but the batches, from (seed, epoch): a killed run resumes to the byte-identical result on the
CPU.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from pipeline import batches, checkpoint, files
from pipeline import stage as stages
from pipeline.cached import Frames, Reader, Scale
from pipeline.cnn_lstm import Design, Regressor
from pipeline.device import select
from pipeline.errors import PipelineError
from pipeline.params import load
from pipeline.progress import say
from pipeline.seeds import derive
from pipeline.shares import Rated, Sample, Shares, Training

LAST = "last.safetensors"
Row = dict[str, float]
Regressors = dict[str, Regressor]


@dataclass(frozen=True)
class Fit:
    """One training run: what it trains, on what, and where it keeps its checkpoints."""

    design: Design
    settings: Training
    seed: int
    reader: Reader
    rated: Rated
    folder: Path

    @classmethod
    def prepare(
        cls, design: Design, settings: Training, seed: int, frames: Frames, rated: Rated
    ) -> "Fit":
        """Choose the device, measure the frames' scale on train, find the scratch folder."""
        device = select(stages.runtime().device)
        scale = Scale.of(frames, rated.of_role("train"), settings.standardize)
        kept = [design.model_dump(), settings.model_dump(), seed, device.type]
        inputs = [frames.layer, frames.headers, rated.digest(), load("numerics_version", int)]
        folder = files.scratch(stages.resume_key("share", kept, inputs))
        return cls(design, settings, seed, Reader(frames, scale, device), rated, folder)

    def run(self) -> tuple[Regressors, list[Row]]:
        """Train on train; return the regressors by name and one row of losses per epoch.

        With a dev role each regressor has the weights of its own best dev epoch, and stops
        ``patience`` epochs after it; without, all train for ``epochs``.

        Raises:
            PipelineError: A loss is not finite.
        """
        regressors = self._build()
        parameters = [p for regressor in regressors.values() for p in regressor.parameters()]
        optimizer = torch.optim.Adam(parameters, self.settings.learning_rate)
        path = self.folder / LAST
        history: list[Row] = checkpoint.restore(path, dict(regressors), optimizer) or []
        while len(history) < self.settings.epochs:
            active = {n: r for n, r in regressors.items() if not self._stopped(r, history)}
            if not active:
                break
            history.append(self._epoch(active, optimizer, len(history) + 1))
            for name, regressor in regressors.items():
                if _best(regressor, history) == len(history):
                    checkpoint.keep(self._kept(name), regressor.state_dict())
            checkpoint.save(path, dict(regressors), optimizer, history)
        for name, regressor in regressors.items():
            if _best(regressor, history):
                regressor.load_state_dict(checkpoint.kept(self._kept(name))[0])
        return regressors, history

    def predict(self, regressors: Regressors, found: Sequence[Sample]) -> Shares:
        """The shares of every sample's clip, (samples, emotions), in the order given."""
        result = np.zeros((len(found), len(self.rated.emotions)), np.float32)
        plan = self._by_length(found)
        with torch.inference_mode():
            for rows, batch in zip(plan, self.reader.batches(found, plan), strict=True):
                for regressor in regressors.values():
                    predicted = regressor(batch.frames, batch.lengths).cpu().numpy()
                    result[np.ix_(rows, self._columns(regressor))] = predicted
        return result

    def discard(self) -> None:
        """Remove the checkpoints, once the result is published."""
        shutil.rmtree(self.folder)

    def _build(self) -> Regressors:
        """The untrained regressors: one per emotion, or one for all of them.

        Training starts at the mean shares of train, where it would spend its first epochs.
        """
        emotions = self.rated.emotions
        means = np.nanmean([sample.shares for sample in self.rated.of_role("train")], 0)
        groups = (
            {"joint": emotions}
            if self.settings.regressors == "joint"
            else {e: [e] for e in emotions}
        )
        regressors = {}
        for name, group in groups.items():
            torch.manual_seed(derive(self.seed, "init", name))
            regressors[name] = Regressor(self.design, group)
            regressors[name].start_at(torch.tensor([means[emotions.index(e)] for e in group]))
            regressors[name].to(self.reader.device)
        return regressors

    def _epoch(self, active: Regressors, optimizer: torch.optim.Optimizer, epoch: int) -> Row:
        train, dev = self.rated.of_role("train"), self.rated.of_role("dev")
        lengths = self.reader.frames.lengths(train)
        plan = batches.of_epoch(lengths, self.settings.batch, self.seed, epoch)
        losses = {"train": self._losses(active, train, plan, optimizer)}
        if dev:
            with torch.no_grad():
                losses["dev"] = self._losses(active, dev, self._by_length(dev))
        means = ", ".join(f"{k} {np.mean(list(v.values())):.5f}" for k, v in losses.items())
        say(f"epoch {epoch}/{self.settings.epochs}: {len(active)} training, mean loss {means}")
        named = {
            f"{kind}_{e}": loss
            for kind, by_emotion in losses.items()
            for e, loss in by_emotion.items()
        }
        return {"epoch": epoch} | named

    def _losses(
        self,
        active: Regressors,
        found: Sequence[Sample],
        plan: Sequence[Sequence[int]],
        optimizer: torch.optim.Optimizer | None = None,
    ) -> dict[str, float]:
        """Each emotion's mean squared error; a step per batch where there is an optimiser."""
        total = torch.zeros(2, len(self.rated.emotions), device=self.reader.device)
        for batch in self.reader.batches(found, plan):
            for regressor in active.values():
                columns = self._columns(regressor)
                target = batch.shares[:, columns]
                known = ~target.isnan()
                error = regressor(batch.frames, batch.lengths) - target.nan_to_num()
                squares = error.square() * known
                if optimizer:
                    (squares.sum() / known.sum().clamp(min=1)).backward()
                total[:, columns] += torch.stack([squares.detach().sum(0), known.sum(0)])
            if optimizer:
                # A regressor that has stopped has no gradients, and Adam passes it over.
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        # Read once an epoch: reading each loss would make the GPU wait for the host.
        sums, counts = total.tolist()
        rows = zip(self.rated.emotions, sums, counts, strict=True)
        losses = {emotion: loss / count for emotion, loss, count in rows if count}
        for emotion, loss in losses.items():
            if not np.isfinite(loss):
                raise PipelineError(
                    f"share: the loss of {emotion!r} is {loss}, lower share.training.learning_rate"
                )
        return losses

    def _by_length(self, found: Sequence[Sample]) -> list[list[int]]:
        """Batches for scoring and prediction, from long to short."""
        lengths = self.reader.frames.lengths(found)
        order = sorted(range(len(found)), key=lambda row: (-lengths[row], row))
        size = self.settings.batch
        return [order[at : at + size] for at in range(0, len(order), size)]

    def _columns(self, regressor: Regressor) -> list[int]:
        return [self.rated.emotions.index(emotion) for emotion in regressor.emotions]

    def _stopped(self, regressor: Regressor, history: Sequence[Row]) -> bool:
        best, patience = _best(regressor, history), self.settings.patience
        return bool(best and patience) and len(history) - best >= patience

    def _kept(self, name: str) -> Path:
        # An emotion's name may hold any character.
        return self.folder / f"{files.digest(name)}.safetensors"


def _best(regressor: Regressor, history: Sequence[Row]) -> int:
    """The number of the epoch with the lowest dev loss, the earliest of equals; 0 without dev."""
    names = [f"dev_{emotion}" for emotion in regressor.emotions]
    scored = [[row[name] for name in names if name in row] for row in history]
    losses = [sum(found) for found in scored if found]
    return 1 + losses.index(min(losses)) if losses else 0


def save(out: Path, design: Design, regressors: Regressors, scale: Scale) -> None:
    """Write ``model.safetensors`` and ``config.json`` into an existing folder."""
    tensors = {"scale/mean": scale.mean, "scale/deviation": scale.deviation}
    for name, regressor in regressors.items():
        tensors |= {f"{name}/{key}": value for key, value in regressor.state_dict().items()}
    checkpoint.write(out / "model.safetensors", tensors)
    outputs = {name: regressor.emotions for name, regressor in regressors.items()}
    config = {"design": design.model_dump(), "regressors": outputs}
    files.write_json(out / "config.json", config)


def read(folder: Path) -> tuple[Regressors, Scale]:
    """Read what `save` wrote: the regressors, ready to predict, and what scales their frames."""
    config = files.read_json(folder / "config.json")
    files.require_intact(folder / "model.safetensors")
    tensors = load_file(folder / "model.safetensors")
    regressors = {}
    for name, emotions in config["regressors"].items():
        regressors[name] = Regressor(Design(**config["design"]), emotions).eval()
        regressors[name].load_state_dict(checkpoint.under(f"{name}/", tensors))
    return regressors, Scale(tensors["scale/mean"], tensors["scale/deviation"])
