"""From a model to a published classifier: train, choose on dev, predict dev and test.

What `finetune`, `finetune_cached`, `crnn` and `networks` have in common, whatever their batches are
made of. A model has ``logits`` and ``loss`` of a batch; each of several (`Together`) has a loss of
its own, and is chosen by it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.ground import files
from pipeline.ground.progress import say
from pipeline.methods import calibration
from pipeline.methods.finetuning import Job, Target
from pipeline.metrics import agreement, recalls
from pipeline.splits.targets import FIELDS, kind
from pipeline.splits.task import Example, of_role
from pipeline.splits.valued import UNDECIDED
from pipeline.training import loop, losses, predictions
from pipeline.training.fit import Fit, Together


def run(job: Job, fit: Fit, model: Any, save: Callable[[Path], None]) -> None:
    """Train ``model`` on the job's examples and publish what ``save`` writes, and its predictions.

    Raises:
        PipelineError: As `Fit.run`.
    """
    say(f"a new, untrained head for {len(job.task.names)} {FIELDS[job.task.target]}")
    train, dev = of_role(job.found, "train"), of_role(job.found, "dev")
    columns = predictions.history_of(job.task)
    if isinstance(model, Together):
        ends = [f"{role}_loss_{name}" for name in model.named for role in ("train", "dev")]
        columns, measure = ("epoch", *ends), None
    else:
        measure = partial(score, fit, model, dev, kind(job.task.target))
    history = loop.train(fit, model, train, dev, measure, job.target)
    if not fit.processes.main:
        return
    scored = logits(fit, model, job.scored)
    with files.publish(job.target) as out:
        out.mkdir()
        save(out)
        predictions.write(out, job.task, job.scored, scored)
        calibration.write(out, job.task)
        predictions.write_history(out, history, columns)
    fit.discard()


def logits(fit: Fit, model: Any, found: Sequence[Example]) -> npt.NDArray[np.float32]:
    """The logits of every example's clip, (clips, classes), in the order given."""
    model.eval()
    return fit.outputs(model.logits, found)


def score(fit: Fit, model: Any, dev: Sequence[Example], target: Target) -> dict[str, float]:
    """Loss per clip (no margin), and the unweighted average recall over clips.

    Votes have the recall of those clips that are decided, dimensions their mean concordance.
    """
    scored = logits(fit, model, dev)
    if target != "emotion":
        return {"dev_loss": fit.mean_loss(model, dev), **_own_score(target, scored, dev)}
    targets = np.array([example.label for example in dev])
    loss = losses.cross_entropy_sum(torch.from_numpy(scored), torch.from_numpy(targets))
    counts = recalls.confusion(targets, scored.argmax(-1), scored.shape[1])
    return {"dev_loss": float(loss) / len(dev), "dev_uar": float(recalls.uar(counts))}


def _own_score(
    target: Target, scored: npt.NDArray[np.float32], dev: Sequence[Example]
) -> dict[str, float]:
    if target == "dimensions":
        pairs = zip(np.array([e.values for e in dev]).T, scored.astype(np.float64).T, strict=True)
        known = [(truth[~np.isnan(truth)], guess[~np.isnan(truth)]) for truth, guess in pairs]
        found = [agreement.concordance(*pair) for pair in known]
        return {"dev_ccc": float(np.nan_to_num(found).mean())}
    labels = np.array([example.label for example in dev])
    decided = labels != UNDECIDED
    if not decided.any():
        return {}
    counts = recalls.confusion(labels[decided], scored.argmax(-1)[decided], scored.shape[1])
    return {"dev_uar": float(recalls.uar(counts))}
