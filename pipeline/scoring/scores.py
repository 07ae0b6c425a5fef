"""From predictions to scores: read what training left, pool the folds, measure with intervals.

Stands between the ``predictions.csv`` of classifiers and what `evaluate` publishes. Only the role
``test`` is ever scored; dev is read where something is chosen. Intervals come from a bootstrap over
speakers, since utterances of one speaker are no independent witnesses; below five speakers there is
none.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.corpora.manifest import Clip
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.metrics import arrays, eer, recalls, resampling
from pipeline.metrics.arrays import Floats

Scores: TypeAlias = dict[str, Any]

MIN_SPEAKERS = 5
DIGITS = 4  # of a published score: another CPU may differ behind them
UNNAMED = ("utterance", "corpus", "speaker", "role", "label")


@dataclass(frozen=True)
class Predictions:
    """The test utterances of one system over its folds, one array each.

    ``speaker`` is the corpus where it is unknown. ``truth`` holds class indices (utterances,) and
    ``guess`` logits (utterances, classes); of values both are (utterances, names).
    """

    utterance: npt.NDArray[np.str_]
    corpus: npt.NDArray[np.str_]
    speaker: npt.NDArray[np.str_]
    fold: npt.NDArray[np.int64]
    truth: npt.NDArray[Any]
    guess: Floats

    def of(self, keep: npt.NDArray[np.bool_]) -> "Predictions":
        """The utterances where ``keep`` is true."""
        return Predictions(*(getattr(self, field.name)[keep] for field in fields(self)))

    def speakers(self) -> tuple[int, npt.NDArray[np.int64]]:
        """How many there are, and which of them speaks each utterance."""
        names, who = np.unique(self.speaker, return_inverse=True)
        return len(names), who


@dataclass(frozen=True)
class Bootstrap:
    """How often speakers are resampled; every system sees the same draws."""

    resamples: int
    seed: int

    def weights(self, speakers: int) -> Floats | None:
        """How often each resample holds each speaker; None where they are too few."""
        if speakers < MIN_SPEAKERS:
            return None
        return resampling.resample(speakers, self.resamples, np.random.default_rng(self.seed))


def read_classifier(
    paths: Mapping[int, Path], classes: Sequence[str], key: str = "task", role: str = "test"
) -> Predictions:
    """The predictions of one classifier, by fold; ``key`` is where its task stands.

    Raises:
        PipelineError: A file is missing or damaged, or has other classes than the task.
    """
    parts = []
    for fold, path in paths.items():
        rows = rows_of(path, [*UNNAMED, *classes], role)
        labels = [row["label"] for row in rows]
        if unknown := sorted(set(labels) - set(classes)):
            raise PipelineError(
                f"{path}: label {unknown[0]!r} is none of {key}.classes, run `dvc repro`"
            )
        truth = np.array([classes.index(label) for label in labels], np.int64)
        parts.append(of_rows(path, fold, rows, truth, numbers(path, rows, classes)))
    return joined(parts)


def joined(parts: Sequence[Predictions]) -> Predictions:
    """The utterances of all parts."""
    return Predictions(
        *(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Predictions))
    )


def read_history(path: Path) -> dict[str, Floats]:
    """A learning curve, (epochs,) for each column; empty where nothing was trained by epochs.

    The losses of models that trained together are their mean, over those that still train.
    """
    rows = _rows(path, ["epoch"])
    names = list(rows[0]) if rows else []
    found = dict(zip(names, numbers(path, rows, names).T, strict=True))
    for loss in ("train_loss", "dev_loss"):
        own = [column for name, column in found.items() if name.startswith(f"{loss}_")]
        found |= {loss: np.nanmean(own, 0)} if own else {}
    return found


def classification(tested: Predictions, classes: Sequence[str], bootstrap: Bootstrap) -> Scores:
    """All scores of one classifier; one that is undefined is left out.

    They pool the folds' test utterances; ``uar_mean`` and ``uar_sd`` alone are over folds.
    """
    count, who = tested.speakers()
    guess = tested.guess.argmax(1)
    each = np.stack([_confusion(tested, guess, who == s, classes) for s in range(count)])
    pooled = each.sum(0)
    folds = [_confusion(tested, guess, tested.fold == k, classes) for k in np.unique(tested.fold)]
    by_fold = [float(recalls.uar(counts)) for counts in folds]
    found = {"uar": float(recalls.uar(pooled))}
    weights = bootstrap.weights(count)
    if weights is not None:
        drawn = recalls.uar(np.tensordot(weights, each, 1))
        found["uar_low"], found["uar_high"] = resampling.interval(drawn)
    found |= {
        "uar_mean": float(np.mean(by_fold)),
        "uar_sd": float(np.std(by_fold, ddof=1)) if len(by_fold) > 1 else float("nan"),
        "war": float(recalls.war(pooled)),
        **{f"f1_{kind}": value for kind, value in recalls.f1(pooled).items()},
        "eer": eer.eer(tested.truth, tested.guess),
        "eer_argmax": eer.eer_argmax(pooled),
    }
    sizes = {"utterances": len(tested.truth), "speakers": count, "folds": len(by_fold)}
    recall = dict(zip(classes, recalls.recalls(pooled).tolist(), strict=True))
    return {**rounded(found), **sizes, "recall": rounded(recall), "confusion": pooled.tolist()}


def uar(told: Predictions, classes: int) -> float:
    """Unweighted average recall, of all folds together; NaN where there is no utterance."""
    return float(recalls.uar(recalls.confusion(told.truth, told.guess.argmax(1), classes)))


def by_corpus(tested: Predictions) -> dict[str, npt.NDArray[np.bool_]]:
    """The utterances of each corpus; empty where there is only one."""
    names = sorted(set(tested.corpus.tolist()))
    return {name: tested.corpus == name for name in names} if len(names) > 1 else {}


def speaker_independent(clips: Iterable[Clip], folds: Iterable[Mapping[str, str]]) -> bool:
    """Whether no test speaker of a fold is in its train or dev; a nameless one proves nothing."""
    speaker = {clip.clip: clip.speaker for clip in clips}
    for roles in folds:
        tested = {speaker[clip] for clip, role in roles.items() if role == "test"}
        held = {speaker[clip] for clip, role in roles.items() if role != "test"}
        if tested & held or "" in tested:
            return False
    return True


def _confusion(
    tested: Predictions,
    guess: npt.NDArray[Any],
    keep: npt.NDArray[np.bool_],
    classes: Sequence[str],
) -> arrays.Ints:
    return recalls.confusion(tested.truth[keep], guess[keep], len(classes))


def rows_of(path: Path, columns: Sequence[str], role: str = "test") -> list[dict[str, str]]:
    """The rows of a file of predictions that have a role; each has these columns."""
    return [row for row in _rows(path, columns) if row["role"] == role]


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    rows = files.read_csv(path)
    missing = [name for name in columns if rows and name not in rows[0]]
    if missing:
        raise PipelineError(f"{path}: no column {missing[0]!r}, run `dvc repro`")
    return rows


def numbers(path: Path, rows: Sequence[dict[str, str]], columns: Sequence[str]) -> Floats:
    """The columns as (rows, columns); an empty field is NaN."""
    try:
        values = [[float(row[name] or "nan") for name in columns] for row in rows]
    except (KeyError, TypeError, ValueError):
        raise PipelineError(f"{path}: damaged, delete its folder and run `dvc repro`") from None
    return np.array(values, np.float64).reshape(len(rows), len(columns))


def of_rows(
    path: Path, fold: int, rows: Sequence[dict[str, str]], truth: npt.NDArray[Any], guess: Floats
) -> Predictions:
    """The predictions of one fold, in one role.

    Raises:
        PipelineError: There are none, or one is not a number.
    """
    if not rows:
        raise PipelineError(f"{path}: no test utterance, mend split or task in params.yaml")
    if np.isnan(guess).any():
        raise PipelineError(f"{path}: a prediction is not a number, delete it and run `dvc repro`")
    return Predictions(
        utterance=np.array([row["utterance"] for row in rows]),
        corpus=np.array([row["corpus"] for row in rows]),
        speaker=np.array([row["speaker"] or row["corpus"] for row in rows]),
        fold=np.full(len(rows), fold, np.int64),
        truth=truth,
        guess=guess,
    )


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    """As published: what is undefined is left out."""
    return {name: round(v, DIGITS) for name, v in values.items() if not np.isnan(v)}
