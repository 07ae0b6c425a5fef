"""The training loop of every stage that trains, whatever its batches are made of.

What happens within an epoch is `pipeline.training.epoch`. Every draw is seeded from its name, and
checkpoints hold all progress: a killed run resumes to the byte-identical result on the CPU. Of
several processes (`accelerate launch`, `torchrun`) the main one scores dev and writes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.ground.errors import PipelineError
from pipeline.ground.live import Curve
from pipeline.ground.progress import say
from pipeline.training import checkpoint, dropout
from pipeline.training.epoch import Epoch
from pipeline.training.fit import Fit, Scores, Together
from pipeline.training.settings import Optimization


def train(
    fit: Fit,
    model: Any,
    found: Sequence[Any],
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
    dropout.install(model, fit.draws)
    fit.fuse(found)
    state = _begun(fit, model)
    history = state.history
    if fit.processes.main:
        fit.curve = Curve(target)
    fit.curve.write(history, now=True)
    while len(history) < fit.settings.epochs:
        training = {e: p for e, p in parts.items() if not _exhausted(fit, history, e)}
        if not training:
            break
        for group in state.optimizer.param_groups:
            group["lr"] = fit.settings.rate(len(history) + 1)
        row = {"epoch": len(history) + 1, **Epoch(fit, state, training, found).run()}
        measure = score or partial(_dev_losses, fit, training, dev)
        history.append(row | (fit.processes.from_main(measure) if dev else {}))
        _require_finite(history[-1], model)
        _say(fit, _line(history[-1], fit.settings.epochs))
        _save(fit, state, parts)
        fit.curve.write(history)
    fit.curve.write(history, now=True)
    if fit.processes.main:
        for end, part in parts.items():
            if _best(fit, history, end):
                part.load_state_dict(checkpoint.kept(_best_path(fit, parts, end))[0])
    return history


def parts_of(model: nn.Module) -> dict[str, nn.Module]:
    """What stops early on its own, by what its scores' names end in."""
    if isinstance(model, Together):
        return {f"_{name}": part for name, part in model.named.items()}
    return {"": model}


def _begun(fit: Fit, model: nn.Module) -> checkpoint.State:
    """The model with its optimiser, as far as an interrupted run came."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, fit.settings.learning_rate, fused=True)
    state = checkpoint.State(model, optimizer)
    state.restore(fit.folder / checkpoint.LAST)
    _require_same_start(fit, state)
    if state.history or state.steps:
        _say(fit, f"resumed after epoch {len(state.history)}, step {len(state.steps)}")
    return state


def _dev_losses(fit: Fit, training: Mapping[str, nn.Module], dev: Sequence[Any]) -> Scores:
    losses = fit.mean_losses(training, dev)
    return {f"dev_loss{end}": loss for end, loss in losses.items()}


def _require_same_start(fit: Fit, state: checkpoint.State) -> None:
    """Stop where nodes share no scratch folder: the first one alone writes checkpoints."""
    here = len(state.history), len(state.steps)
    first = fit.processes.from_main(lambda: here)
    if here != first:
        raise PipelineError(
            f"{fit.folder}: has a checkpoint of epoch {here[0]}, step {here[1]}, but the "
            f"first node has one of epoch {first[0]}, step {first[1]}, set SER_SCRATCH to a "
            "folder that all nodes share"
        )


def _exhausted(fit: Fit, history: list[Scores], end: str) -> bool:
    best = _best(fit, history, end)
    patience = fit.settings.patience if isinstance(fit.settings, Optimization) else 0
    return bool(best and patience) and len(history) - best >= patience


def _best(fit: Fit, history: Sequence[Scores], end: str) -> int:
    """The number of the best epoch, the earliest of equals; 0 where dev chooses none."""
    scored = [row for row in history if f"dev_loss{end}" in row]
    if not (scored and isinstance(fit.settings, Optimization)):
        return 0
    ranks = [(-row.get(f"dev_uar{end}", 0.0), row[f"dev_loss{end}"]) for row in scored]
    return 1 + ranks.index(min(ranks))


def _save(fit: Fit, state: checkpoint.State, parts: Mapping[str, nn.Module]) -> None:
    if not fit.processes.main:
        return
    for end, part in parts.items():
        if _best(fit, state.history, end) == len(state.history):
            checkpoint.keep(_best_path(fit, parts, end), part.state_dict())
    state.save(fit.folder / checkpoint.LAST)


def _best_path(fit: Fit, parts: Mapping[str, nn.Module], end: str) -> Path:
    return fit.folder / f"best{[*parts].index(end)}.safetensors"  # a name may hold anything


def _say(fit: Fit, line: str) -> None:
    if fit.processes.main:
        say(line)


def _require_finite(row: Scores, model: nn.Module) -> None:
    """Stop where the epoch's last step diverged, which no loss of a later step tells of."""
    trained = [p.detach() for p in model.parameters() if p.requires_grad]
    weights = torch.stack([values.isfinite().all() for values in trained]).all()
    if not (weights and all(math.isfinite(value) for value in row.values())):
        raise PipelineError(
            f"epoch {row['epoch']:.0f}: training diverged, its scores or weights are not finite, "
            "lower learning_rate or use precision fp32; the last checkpoint is kept"
        )


def _line(row: Scores, epochs: int) -> str:
    scores = ", ".join(f"{name} {value:.4f}" for name, value in row.items() if name != "epoch")
    return f"epoch {row['epoch']:.0f}/{epochs}: {scores}"
