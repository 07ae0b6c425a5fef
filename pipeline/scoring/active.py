"""Which systems the lists of ``params.yaml`` switch on; nothing that lies on disk says so.

What `plan` keeps, `evaluate` scores and ``ser compare`` pairs.
"""

from collections.abc import Mapping
from itertools import product
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from pipeline.ground.errors import PipelineError
from pipeline.ground.params import PARAMS_FILE, Section, load, read

System: TypeAlias = tuple[str, str, str]  # task, start and method

FUSED = "ensemble"  # stands in the place of a start
# What results/metrics.json holds beside a key for each task: no task has such a name.
BESIDE = ("protocol", "cross", "speaker_shared", "units", "stress", "fairness")

STARTS = ("cached", "pretrained", "retrained")
_METHODS = [f"{key}.{start}" for key in ("methods", "tasks") for start in STARTS]
_NONE: dict[str, list[str]] = {"tasks": [], "features": [], "methods": []}
_OF_STAGES = ("crnn.tasks", "crnn.features", *(f"networks.{key}" for key in _NONE))
_CROSS = ("cross.features", "cross.methods")
_NAMES = (
    "features",
    *_METHODS,
    *_OF_STAGES,
    *_CROSS,
    "probe.tasks",
    "probe.features",
    "stress.classifiers",
)


class Ensemble(Section):
    """An entry of ``evaluate.ensembles``: rows whose outputs are averaged.

    ``members`` are named as results/metrics.json nests them, ``emotion/fbank/linear``. Weights are
    ``equal``, or fitted on ``dev``.
    """

    members: Annotated[list[str], Field(min_length=2)]
    weights: Literal["equal", "dev"]

    @property
    def systems(self) -> list[System]:
        """The members; a name that is none of a system is one that does not exist."""
        parts = [(*name.split("/"), "", "")[:3] for name in self.members]
        return [(task, start, method) for task, start, method in parts]


def checked() -> dict[str, Any]:
    """The parsed ``params.yaml``, whose lists are sure to be lists.

    Raises:
        PipelineError: One is not, or is missing.
    """
    for key in _NAMES:
        load(key, list[str])
    for key in ("folds", "adapted"):
        load(key, list[int])
    return read(PARAMS_FILE.absolute())


def classifiers(params: Mapping[str, Any]) -> dict[System, list[int]]:
    """The folds of each task, start and method; empty where a list is."""
    methods, tasks, crnn = params["methods"], params["tasks"], params["crnn"]
    networks = params.get("networks", _NONE)  # which older versions did not have
    folds, adapted = params["folds"], params["adapted"]
    found = dict.fromkeys(product(tasks["cached"], params["features"], methods["cached"]), folds)
    found |= dict.fromkeys(product(crnn["tasks"], crnn["features"], ["crnn"]), folds)
    found |= dict.fromkeys(product(*(networks[key] for key in _NONE)), folds)
    for start, used in (("pretrained", folds), ("retrained", adapted)):
        found |= dict.fromkeys(product(tasks[start], [start], methods[start]), used)
    return {system: list(used) for system, used in found.items() if used}


def tasks(params: Mapping[str, Any]) -> dict[str, list[int]]:
    """The folds in which a classifier or a probe learns each task."""
    found: dict[str, set[int]] = {}
    for (task, _, _), folds in classifiers(params).items():
        found.setdefault(task, set()).update(folds)
    for task, _ in probes(params):
        found.setdefault(task, set()).update(params["folds"])
    return {task: sorted(used) for task, used in found.items() if used}


def results(params: Mapping[str, Any]) -> dict[str, list[str]]:
    """The outputs that are scored or drawn: their paths below each folder of ``artifacts``."""
    systems = classifiers(params).items()
    return {
        "classifiers": ["/".join([*one, str(fold)]) for one, folds in systems for fold in folds],
        "cross": [f"{features}/{method}" for features, method in crossed(params)],
        "stress": ["/".join(system) for system in stressed(params)],
        "probes": [f"{task}/{features}" for task, features in probes(params)],
        "units": [str(fold) for fold in params["adapted"]],
    }


def ensembles(params: Mapping[str, Any]) -> dict[System, Ensemble]:
    """What is averaged, by the row that it becomes."""
    told = params["evaluate"].get("ensembles", {})  # which older versions did not have
    found = {name: Ensemble(**entry) for name, entry in told.items()}
    return {(one.systems[0][0], FUSED, name): one for name, one in found.items()}


def crossed(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each features and method that is trained on one corpus and tested on another."""
    return list(product(params["cross"]["features"], params["cross"]["methods"]))


def stressed(params: Mapping[str, Any]) -> dict[System, list[int]]:
    """The folds of each classifier that `stress` judges again.

    Raises:
        PipelineError: One is not active, or named twice.
    """
    known = {"/".join(system): (system, used) for system, used in classifiers(params).items()}
    names = params["stress"]["classifiers"]
    for name in names:
        if name not in known:
            raise PipelineError(
                f"params.yaml: stress.classifiers has {name!r}, which is not active, "
                f"remove it or use one of: {', '.join(known) or 'none is active'}"
            )
        if names.count(name) > 1:
            raise PipelineError(f"params.yaml: stress.classifiers has {name!r} twice, remove one")
    return dict(known[name] for name in names)


def probes(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each task and features of the probe."""
    return list(product(params["probe"]["tasks"], params["probe"]["features"]))
