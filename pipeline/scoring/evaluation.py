"""From the folders of the trained systems to what ``results/`` holds.

Each system is read and scored once (`pipeline.scoring.scores`); the tables, the pictures and the
JSON files are views of it. Systems are named by the caller: no folder is ever listed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.corpora import manifest
from pipeline.corpora.manifest import Clip
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.metrics.arrays import Floats
from pipeline.scoring import calibrated, crossed, ratings, scores
from pipeline.scoring.active import System
from pipeline.scoring.calibrated import CALIBRATED, Confidence
from pipeline.scoring.crossed import Matrix
from pipeline.scoring.scores import Bootstrap, Predictions, Scores
from pipeline.splits import folds, train_share
from pipeline.splits.folds import Fold
from pipeline.splits.targets import Emotion, Task, Votes, kind
from pipeline.splits.valued import Valued
from pipeline.units import tally

CLASSIFIERS = manifest.ARTIFACTS / "classifiers"
UNITS = manifest.ARTIFACTS / "units"

GAIN = ("gain", "gain_p")  # of an ensemble, over its best member
# Columns of `dvc exp show`; DVC makes none of a list, so pairs stand beside them without crowding.
COLUMNS = {
    "emotion": ("uar", "war", "f1_macro", "eer", CALIBRATED, *GAIN),
    "votes": ("uar", "war", "f1_macro", "js", CALIBRATED, *GAIN),
    "dimensions": ("ccc", "pearson", "mae", *GAIN),
    "shares": ("rho", "ccc", "pearson", "mae", *GAIN),
}
PAIRS = {
    "uar_95": ("uar_low", "uar_high"),
    "uar_mean_sd": ("uar_mean", "uar_sd"),
    "ccc_95": ("ccc_low", "ccc_high"),
    "ccc_mean_sd": ("ccc_mean", "ccc_sd"),
    "rho_95": ("rho_low", "rho_high"),
    "gain_95": ("gain_low", "gain_high"),
}


@dataclass(frozen=True)
class Classifier:
    """A classifier over its folds: its task, start and method, predictions, scores and curves.

    ``classes`` names its outputs: of dimensions, these.
    """

    task: str
    start: str
    method: str
    classes: list[str]
    tested: Predictions
    scores: Scores
    curves: dict[int, dict[str, Floats]]
    confidence: Confidence | None = None

    @property
    def shown(self) -> str:
        """As in tables that hold several tasks."""
        return f"{self.task} {self.start} {self.method}"

    @property
    def name(self) -> str:
        """As in file names."""
        return f"{self.task}-{self.start}-{self.method}"


@dataclass(frozen=True)
class Run:
    """What one `evaluate` has read and scored: what the report's sections are made from.

    ``tasks`` are the active ones by name, ``clips`` those of the manifests, ``units`` is what
    `tally.Tally.report` says of the units of each adapted fold, ``shared`` the classifiers of folds
    with the same speakers on both sides, where others stand beside them, ``trust`` what
    `pipeline.scoring.trust` says of fairness and stress.
    """

    tasks: Mapping[str, Task]
    clips: Sequence[Clip]
    protocol: Scores
    classifiers: Sequence[Classifier]
    units: Mapping[int, Any]
    audits: Mapping[str, Any]
    settings: Mapping[str, Any]
    shared: Sequence[Classifier] = ()
    crossed: Sequence[Matrix] = ()
    trust: Scores = field(default_factory=dict)

    @property
    def counted(self) -> Emotion | None:
        """The first task of emotion: what clips are counted by, where corpora are described."""
        return next((task for task in self.tasks.values() if isinstance(task, Emotion)), None)

    @property
    def corpora(self) -> list[str]:
        """The active corpora."""
        return list(self.audits)


def score_classifiers(
    systems: Mapping[System, Sequence[int]],
    tasks: Mapping[str, Task],
    bootstrap: Bootstrap,
    tests: Mapping[int, set[str]],
) -> list[Classifier]:
    """Read and score the classifiers of each (task, start, method) over its folds.

    Raises:
        PipelineError: A file of predictions is missing, damaged, or made under other folds than
            ``tests`` has.
    """
    found = []
    for (name, start, method), used in systems.items():
        task, folder = tasks[name], CLASSIFIERS / name / start / method
        folders = {fold: folder / str(fold) for fold in used}
        paths = {fold: folder / "predictions.csv" for fold, folder in folders.items()}
        tested = read(paths, task.target, task.names, name)
        _require_tests(paths, tested, tests)
        sure = None if isinstance(task, Valued) else calibrated.confidence(tested, folders)
        total = scored(paths, tested, task, bootstrap) | (sure.scores if sure else {})
        curves = {k: scores.read_history(f / "history.csv") for k, f in folders.items()}
        curves = {fold: curve for fold, curve in curves.items() if curve}
        found.append(Classifier(name, start, method, task.names, tested, total, curves, sure))
    return found


def read(
    paths: Mapping[int, Path], target: str, names: Sequence[str], task: str, role: str = "test"
) -> Predictions:
    """The predictions of one system of a task, by fold; of votes, on the consensus."""
    if kind(target) == "dimensions":
        return ratings.read_dimensions(paths, names, role)
    if target == "votes":
        return ratings.read_votes(paths, names, role)[0]
    return scores.read_classifier(paths, names, f"task.{task}", role)


def scored(
    paths: Mapping[int, Path], tested: Predictions, task: Task, bootstrap: Bootstrap
) -> Scores:
    """The scores of a system's test predictions, and those of each corpus where there are several.

    ``paths`` are those that ``tested`` was read of, or in whose order it is: of votes, the shares
    are read there.
    """
    measure = _measured(paths, tested, task, bootstrap)
    parts = {c: measure(rows) for c, rows in scores.by_corpus(tested).items()}
    return {**measure(np.ones(len(tested.truth), bool)), "corpora": parts}


def _measured(
    paths: Mapping[int, Path], tested: Predictions, task: Task, bootstrap: Bootstrap
) -> Callable[[npt.NDArray[np.bool_]], Scores]:
    """A function that scores some of the rows."""
    if isinstance(task, Valued):
        return lambda rows: ratings.dimensions(tested.of(rows), task.names, bootstrap)
    if isinstance(task, Votes):
        shares = ratings.read_votes(paths, task.names)[1]
        return lambda rows: ratings.votes(tested.of(rows), shares[rows], task.names, bootstrap)
    return lambda rows: scores.classification(tested.of(rows), task.names, bootstrap)


def test_utterances(clips: Sequence[Clip], made: Mapping[int, Fold]) -> dict[int, set[str]]:
    """The utterances in the role test, by fold."""
    return {
        fold: {clip.utterance for clip in clips if roles.get(clip.clip) == "test"}
        for fold, roles in made.items()
    }


def _require_tests(
    paths: Mapping[int, Path], tested: Predictions, tests: Mapping[int, set[str]]
) -> None:
    for fold, path in paths.items():
        strange = set(tested.utterance[tested.fold == fold].tolist()) - tests[fold]
        if strange:
            raise PipelineError(
                f"{path}: {min(strange)} is tested there, but has another role in fold {fold} of "
                f"{folds.FOLDS}, run `dvc repro`"
            )


def protocol(
    clips: Sequence[Clip], used: Sequence[int], made: Sequence[Fold], by: str, bootstrap: Bootstrap
) -> Scores:
    """Under which protocol every score of the run was made."""
    return {
        "speaker_independent": scores.speaker_independent(
            clips, [folds.of(made, fold) for fold in used]
        ),
        "by": by,
        "folds": list(used),
        "of": len(made),
        "seed": bootstrap.seed,
        "resamples": bootstrap.resamples,
    }


def thinned(
    share: float, clips: Sequence[Clip], used: Sequence[int], made: Sequence[Fold]
) -> Scores:
    """What is said of a run on a share of the training speakers: how many each fold has left."""
    if share == 1:
        return {}
    left = [len(train_share.speakers(clips, folds.of(made, fold))) for fold in used]
    return {"train_share": share, "train_speakers": left}


def as_json(run: Run) -> Scores:
    """All scores, nested by task, start (features) and method (head)."""
    nested: Scores = {"protocol": run.protocol, **{name: {} for name in run.tasks}}
    for c in run.classifiers:
        nested[c.task].setdefault(c.start, {})[c.method] = c.scores
    for c in run.shared:
        beside = nested.setdefault("speaker_shared", {}).setdefault(c.task, {})
        beside.setdefault(c.start, {})[c.method] = c.scores
    for m in run.crossed:
        nested.setdefault("cross", {}).setdefault(m.features, {})[m.method] = m.nested
    nested |= run.trust
    nested["units"] = {str(fold): report for fold, report in run.units.items()}
    return nested


def headline(everything: Scores, tasks: Mapping[str, Task]) -> Scores:
    """The few figures that experiments are compared by, beside the protocol they come from."""
    about = everything["protocol"]
    kept: Scores = {
        "protocol": {
            "speaker_independent": about["speaker_independent"],
            "folds": len(about["folds"]),
        }
    }
    if "left_out" in about:
        kept["protocol"]["left_out"] = {
            task: {emotion: sum(where.values()) for emotion, where in labels.items()}
            for task, labels in about["left_out"].items()
        }
    if "train_share" in about:
        kept["protocol"]["train_share"] = about["train_share"]
    if "trained_on" in about:
        kept["protocol"]["trained_on"] = about["trained_on"]
    for task, told in tasks.items():
        systems, columns = everything[task], COLUMNS[told.target]
        kept[task] = {
            start: {method: _headline(found, columns) for method, found in methods.items()}
            for start, methods in systems.items()
        }
        tested = [found["speakers"] for methods in systems.values() for found in methods.values()]
        if tested:
            kept["protocol"][f"{task}_speakers"] = max(tested)
    if "cross" in everything:
        kept["cross"] = {
            features: {method: crossed.headline(nested) for method, nested in methods.items()}
            for features, methods in everything["cross"].items()
        }
    if everything["units"]:
        means = tally.mean(list(everything["units"].values()))
        kept["units"] = {scale: _headline_units(found["train"]) for scale, found in means.items()}
    return kept


def _headline_units(train: Scores) -> Scores:
    """What the units of the frames that retraining learns from say of what multi-task taught."""
    told = {f"nmi_{name}": train[name]["nmi"] for name in ("emotion", "gender") if train[name]}
    return {name: round(value, 4) for name, value in {"inertia": train["inertia"], **told}.items()}


def _headline(found: Scores, columns: Sequence[str]) -> Scores:
    kept = {name: found[name] for name in columns if name in found}
    pairs = {
        name: [found[n] for n in both]
        for name, both in PAIRS.items()
        if both[1] in found and name.partition("_")[0] in columns
    }
    return kept | pairs


def write_tables(folder: Path, classifiers: Sequence[Classifier]) -> None:
    """One ``confusion-<classifier>.csv`` each: counts, and their percentage of the truth."""
    folder.mkdir()
    for c in (c for c in classifiers if "confusion" in c.scores):
        counts = np.array(c.scores["confusion"])
        totals = np.maximum(counts.sum(1), 1)
        rows = [
            [c.classes[row], c.classes[column], count, f"{100 * count / totals[row]:.2f}"]
            for (row, column), count in np.ndenumerate(counts)
        ]
        header = ["truth", "predicted", "count", "percent_of_truth"]
        files.write_csv(folder / f"confusion-{c.name}.csv", header, rows)


def audits(corpora: Sequence[str]) -> Mapping[str, Any]:
    """What `preprocess` found in each corpus."""
    return {name: files.read_json(manifest.CLIPS / name / "audit.json") for name in corpora}


def units(adapted: Sequence[int]) -> Mapping[int, Any]:
    """How good `cluster` found the units of each adapted fold."""
    return {fold: files.read_json(UNITS / str(fold) / "report.json") for fold in adapted}
