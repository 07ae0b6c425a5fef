"""What is asked of classifiers beyond their score: fairness, and what they lose under stress."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.corpora.manifest import Clip
from pipeline.scoring import active
from pipeline.scoring.evaluation import Classifier
from pipeline.scoring.scores import Bootstrap, Scores
from pipeline.scoring.trust import fairness, stressed
from pipeline.splits.targets import Task

_KINDS = {"fairness": fairness, "stress": stressed}


def score(
    params: Mapping[str, Any],
    tasks: Mapping[str, Task],
    classifiers: Sequence[Classifier],
    clips: Sequence[Clip],
    bootstrap: Bootstrap,
) -> Scores:
    """What there is of both, each by task, start and method; ``params`` is the parsed params.yaml.

    Raises:
        PipelineError: A file of `stress` is missing or damaged.
    """
    stress, conditions = active.stressed(params), params["stress"]["conditions"]
    ensembles = active.ensembles(params)
    found = {
        "fairness": fairness.score(classifiers, clips, bootstrap),
        "stress": stressed.score(stress, ensembles, tasks, conditions, bootstrap),
    }
    return {name: one for name, one in found.items() if one}


def headline(found: Scores) -> Scores:
    """The few figures of each that experiments are compared by."""
    return {name: _KINDS[name].headline(one) for name, one in found.items()}


def write_tables(folder: Path, found: Scores) -> None:
    """Write the tables of each."""
    for name, one in found.items():
        _KINDS[name].write_tables(folder, one)
