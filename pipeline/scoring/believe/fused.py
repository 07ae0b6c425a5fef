"""The rows of ``evaluate.ensembles``: what several systems say of the same utterances, averaged.

An ensemble is scored as any classifier is, and tested against its best member on the same
utterances. Its weights see dev alone, each fold's its own: another fold's dev speakers are tested.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.ground.errors import PipelineError
from pipeline.metrics import mixture
from pipeline.scoring import calibrated, comparison, evaluation, ratings, scores
from pipeline.scoring.active import Ensemble, System
from pipeline.scoring.believe import members
from pipeline.scoring.believe.members import Told
from pipeline.scoring.evaluation import Classifier
from pipeline.scoring.scores import Bootstrap, Predictions, Scores
from pipeline.splits.targets import Task
from pipeline.splits.valued import Valued

Weights = dict[int, list[float]]  # of the members, by fold


@dataclass(frozen=True)
class Fused:
    """An ensemble before it is scored: its members on test, on dev where there is one, weights."""

    tested: Sequence[Told]
    dev: Sequence[Told] | None
    weights: Weights
    is_fitted: bool

    def said(self, role: Sequence[Told], is_calibrated: bool = True) -> Predictions:
        """The average over the members: logits of probabilities, or values of dimensions."""
        first = role[0].said
        told, guess = np.stack([one.outputs(is_calibrated) for one in role]), first.guess.copy()
        for fold, weights in self.weights.items():
            rows = first.fold == fold
            found = mixture.mixed(told[:, rows], weights)
            guess[rows] = mixture.logits(found) if role[0].is_of_classes else found
        return replace(first, guess=guess)


def read(
    name: System,
    ensemble: Ensemble,
    used: Sequence[int],
    task: Task,
    root: Path = evaluation.CLASSIFIERS,
) -> Fused:
    """What an ensemble's members, below ``root``, say in these folds; how much each counts.

    Raises:
        PipelineError: A member's predictions are missing or of other utterances, or weights are
            fitted on dev and there is none.
    """
    both = [
        [members.read(system, used, task, role, root) for system in ensemble.systems]
        for role in ("test", "dev")
    ]
    tested, dev = (_aligned(found) for found in both)
    if tested is None:
        raise PipelineError(f"{'/'.join(name)}: no test utterance, mend split in params.yaml")
    if ensemble.weights == "dev" and dev is None:
        raise PipelineError(
            f"params.yaml: evaluate.ensembles.{name[2]}: weights are fitted on dev, and a fold has "
            "none, set weights to equal or split.dev to speaker"
        )
    is_fitted = ensemble.weights == "dev"
    even = [round(1 / len(tested), mixture.DIGITS)] * len(tested)
    weights = {fold: _fitted(dev, fold) if is_fitted and dev else even for fold in used}
    return Fused(tested, dev, weights, is_fitted)


def score(
    ensembles: Mapping[System, Ensemble],
    systems: Mapping[System, Sequence[int]],
    tasks: Mapping[str, Task],
    bootstrap: Bootstrap,
) -> list[Classifier]:
    """Read and score the ensembles whose members are among the systems, by their folds."""
    found = []
    for name, ensemble in ensembles.items():
        if all(system in systems for system in ensemble.systems):
            used = systems[ensemble.systems[0]]
            found.append(
                _scored(name, read(name, ensemble, used, tasks[name[0]]), tasks, bootstrap)
            )
    return found


def _scored(
    name: System, fused: Fused, tasks: Mapping[str, Task], bootstrap: Bootstrap
) -> Classifier:
    task, tested = tasks[name[0]], fused.said(fused.tested)
    folder = evaluation.CLASSIFIERS.joinpath(*fused.tested[0].system)
    paths = {fold: folder / str(fold) / "predictions.csv" for fold in fused.weights}
    total = evaluation.scored(paths, tested, task, bootstrap)
    total |= _against_best(fused, tested, len(task.names), bootstrap)
    sure = None
    if not isinstance(task, Valued):
        as_trained = fused.said(fused.tested, is_calibrated=False)
        is_calibrated = all(one.is_calibrated for one in fused.tested)
        sure = calibrated.of_average(as_trained, tested, is_calibrated)
        total |= sure.scores
    return Classifier(*name, task.names, tested, total, {}, sure)


def _against_best(fused: Fused, tested: Predictions, classes: int, bootstrap: Bootstrap) -> Scores:
    """The members, their weights, and how much better the average is than the best of them.

    The best is that on dev; without dev that on test, the hardest to beat.
    """
    measured = [measure(one.said, classes) for one in fused.dev or fused.tested]
    best = fused.tested[int(np.argmax(measured))]
    told: Scores = {
        "members": ["/".join(one.system) for one in fused.tested],
        "weights": {str(fold): weights for fold, weights in fused.weights.items()},
        "fitted_on": "dev" if fused.is_fitted else None,
        "best": "/".join(best.system),
        "best_on": "dev" if fused.dev else "test",
    }
    found = gain(best.said, tested, classes, bootstrap)
    return {"ensemble": told, **found}


def gain(best: Predictions, tested: Predictions, classes: int, bootstrap: Bootstrap) -> Scores:
    """How much better ``tested`` is than ``best`` on the same utterances, as ``gain`` and the like.

    In UAR, of dimensions in the mean CCC; interval and p by speakers, where there are enough.
    """
    if tested.truth.ndim > 1:
        values = comparison.compare_dimensions([best], [tested], bootstrap)
        more, interval, p = values.ccc_b - values.ccc_a, values.interval, values.p
    else:
        known = tested.truth >= 0
        if not known.any():
            return {}
        pair = [best.of(known)], [tested.of(known)]
        uars = comparison.compare(*pair, classes, bootstrap)
        more, interval, p = uars.uar_b - uars.uar_a, uars.interval, uars.p
    if interval is None or p is None:
        return scores.rounded({"gain": more})
    low, high = interval
    return scores.rounded({"gain": more, "gain_low": low, "gain_high": high, "gain_p": p})


def measure(said: Predictions, classes: int) -> float:
    """UAR of what is decided, or the mean CCC."""
    if said.truth.ndim > 1:
        return ratings.mean_concordance(said)
    return scores.uar(said.of(said.truth >= 0), classes)


def _aligned(found: Sequence[Told | None]) -> list[Told] | None:
    known = [one for one in found if one]
    if len(known) < len(found):
        return None
    return [known[0], *(one.in_order_of(known[0]) for one in known[1:])]


def _fitted(dev: Sequence[Told], fold: int) -> list[float]:
    rows = dev[0].said.fold == fold
    told = np.stack([one.outputs()[rows] for one in dev])
    fit = mixture.likeliest if dev[0].is_of_classes else mixture.nearest
    return fit(told, dev[0].aims[rows])
