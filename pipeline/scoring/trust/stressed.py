"""What a classifier loses under conditions: what `stress` leaves, scored beside the clean clips.

All conditions have the same utterances, so that the difference to the clean ones is paired; its
interval resamples speakers, as all do here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.audio.perturb.conditions import CLEAN
from pipeline.ground import files
from pipeline.scoring import comparison, evaluation, ratings, scores
from pipeline.scoring.active import Ensemble, System
from pipeline.scoring.scores import Bootstrap, Predictions, Scores
from pipeline.scoring.trust import averaged, nested
from pipeline.scoring.trust.averaged import STRESS
from pipeline.splits.targets import Task
from pipeline.splits.valued import Valued

COUNTED = "conditions.json"


def score(
    systems: Mapping[System, Sequence[int]],
    ensembles: Mapping[System, Ensemble],
    tasks: Mapping[str, Task],
    conditions: Sequence[str],
    bootstrap: Bootstrap,
) -> Scores:
    """Of each task, start, method and condition `of_condition`, with the samples cut off.

    The clean clips come first. ``clipped`` is the share of samples at full scale. An ensemble is
    among them where all its members are.

    Raises:
        PipelineError: A file of `stress` is missing or damaged.
    """
    made: Scores = {}
    names = (CLEAN, *conditions)
    for system, used in systems.items():
        folder, task = STRESS.joinpath(*system), tasks[system[0]]
        heard = {name: _read(folder / name, used, system[0], task) for name in names}
        _put(made, system, _scored(heard, system, task, bootstrap))
    for row, ensemble in ensembles.items():
        first = ensemble.systems[0]
        if all(system in systems for system in ensemble.systems):
            task = tasks[row[0]]
            heard = averaged.under(row, ensemble, systems[first], task, names)
            _put(made, row, _scored(heard, first, task, bootstrap))
    return made


def _put(made: Scores, row: System, found: Scores) -> None:
    task, start, method = row
    made.setdefault(task, {}).setdefault(start, {})[method] = found


def _scored(
    heard: Mapping[str, Predictions], system: System, task: Task, bootstrap: Bootstrap
) -> Scores:
    """By condition; ``system`` is one whose clips were counted."""
    counts = files.read_json(STRESS.joinpath(*system) / COUNTED)
    return {
        condition: {
            **of_condition(heard[CLEAN], one, task, bootstrap),
            **scores.rounded(
                {"clipped": counts[condition]["clipped"] / counts[condition]["samples"]}
            ),
        }
        for condition, one in heard.items()
    }


def measure_of(task: Task) -> str:
    """What is scored: UAR, or of dimensions the mean of their CCC."""
    return "ccc" if isinstance(task, Valued) else "uar"


def of_condition(
    clean: Predictions, heard: Predictions, task: Task, bootstrap: Bootstrap
) -> Scores:
    """The score with its interval, the difference to the clean clips with its, changed decisions.

    ``changed`` is the share of utterances that are taken for another class than on the clean clip:
    dimensions have none. Utterances whose votes are undecided count there alone.
    """
    measure, told = measure_of(task), {}
    if isinstance(task, Valued):
        own = ratings.dimensions(heard, task.names, bootstrap)
        ccc = comparison.compare_dimensions([clean], [heard], bootstrap)
        gap, interval = ccc.ccc_b - ccc.ccc_a, ccc.interval
    else:
        told["changed"] = float((clean.guess.argmax(1) != heard.guess.argmax(1)).mean())
        clean, heard = (one.of(one.truth >= 0) for one in (clean, heard))
        own = scores.classification(heard, task.names, bootstrap)
        uar = comparison.compare([clean], [heard], len(task.names), bootstrap)
        gap, interval = uar.uar_b - uar.uar_a, uar.interval
    told["difference"] = gap
    if interval:
        told |= {"difference_low": interval[0], "difference_high": interval[1]}
    kept = {
        name: own[name] for name in (measure, f"{measure}_low", f"{measure}_high") if name in own
    }
    return {**kept, **scores.rounded(told)}


def headline(everything: Scores) -> Scores:
    """Few columns of `dvc exp show`: the mean over the conditions, and the worst of them.

    The lists, of which one has all, make no column there.
    """
    return nested.of(everything, _short)


def _short(found: Mapping[str, Scores]) -> Scores:
    measure = "uar" if "uar" in found[CLEAN] else "ccc"
    of = {condition: one[measure] for condition, one in found.items()}
    under = {condition: value for condition, value in of.items() if condition != CLEAN}
    worst = min(under, key=under.__getitem__)
    return {
        f"{measure}_mean": round(float(np.mean(list(under.values()))), scores.DIGITS),
        f"{measure}_worst": under[worst],
        "worst": [worst],
        f"{measure}_of": [list(pair) for pair in of.items()],
    }


def write_tables(folder: Path, everything: Scores) -> None:
    """Write ``stress-<task>-<start>-<method>.csv`` of each, a row for each condition."""
    for name, found in nested.each(everything):
        columns = list(dict.fromkeys(key for one in found.values() for key in one))
        rows = [[n, *(one.get(key, "") for key in columns)] for n, one in found.items()]
        files.write_csv(folder / f"stress-{'-'.join(name)}.csv", ["condition", *columns], rows)


def _read(folder: Path, used: Sequence[int], name: str, task: Task) -> Predictions:
    paths = {fold: folder / str(fold) / "predictions.csv" for fold in used}
    return evaluation.read(paths, task.target, task.names, name)
