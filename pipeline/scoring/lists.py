"""The lists that name what is active: each name is defined, and stands in its list once.

`plan` checks them before anything runs, ``ser preset`` before it writes.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from pipeline.encoders import layout
from pipeline.gmp.recipe import Recipe
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import PARAMS_FILE, Section, load, read
from pipeline.methods.finetuning import Cached, Crossed, Trained
from pipeline.scoring import active
from pipeline.scoring.active import Ensemble
from pipeline.splits import targets
from pipeline.splits.unscored import require_unscored

_NAME = re.compile(r"\w[\w-]*")
Names = list[str]
Folds = list[Annotated[int, Field(ge=0, le=9999)]]


class Tasks(Section):
    """The ``tasks`` section: the active tasks, by what their classifiers start from."""

    cached: Names
    pretrained: Names
    retrained: Names


class Methods(Section):
    """The ``methods`` section: the active methods, by what they start from."""

    cached: list[Cached]
    pretrained: list[Trained]
    retrained: list[Trained]


def check(path: Path = PARAMS_FILE) -> list[str]:
    """Check every list of a params.yaml and return its corpora.

    Raises:
        PipelineError: A list is mistyped, or has a name twice or one that nothing defines.
    """
    corpora, encoders = load("corpora", Names, path), load("encoders", Names, path)
    features = load("features", Names, path)
    folds, adapted = load("folds", Folds, path), load("adapted", Folds, path)
    methods = load("methods", Methods, path)
    tasks, known = load("tasks", Tasks, path), _tasks(path)
    _require("corpora", corpora, "corpus", load("corpus", dict[str, object], path))
    _require("encoders", encoders, "encoder", load("encoder", dict[str, object], path))
    made = _pretrained(encoders, folds, path)
    _require("pretrained", [load("pretrained", str, path)], "encoders", [*encoders, *made])
    if layout.OWN in features:
        raise PipelineError(
            f"params.yaml: features has {layout.OWN!r}, of which each fold has another, cached "
            "embeddings would be of one of them: remove it"
        )
    _require("features", features, "encoders", [*encoders, *made])
    _require("folds", folds, "folds", folds)
    _require("adapted", adapted, "folds", folds)
    for start, names in methods.model_dump().items():
        _require(f"methods.{start}", names, "finetune.methods", names)
    for start, names in tasks.model_dump().items():
        _require(f"tasks.{start}", names, "task", known)
    _require("crnn.tasks", load("crnn.tasks", Names, path), "task", known)
    _require("probe.tasks", load("probe.tasks", Names, path), "task", known)
    _require("multitask.task", [load("multitask.task", str, path)], "task", known)
    for key in targets.FITTING:
        for name in load(key, Names, path):
            targets.require_fitting(key, name, path)
    _require("crnn.features", load("crnn.features", Names, path), "features", features)
    _require("cross.task", [load("cross.task", str, path)], "task", known)
    _require("cross.features", load("cross.features", Names, path), "features", features)
    crossed = load("cross.methods", list[Crossed], path)
    _require("cross.methods", crossed, "finetune.methods", crossed)
    _require("networks.tasks", load("networks.tasks", Names, path), "task", known)
    _require("networks.features", load("networks.features", Names, path), "features", features)
    heads = load("networks.model.feed_forward", dict[str, object], path)
    chosen = load("networks.methods", Names, path)
    _require("networks.methods", chosen, "networks.model.feed_forward", heads)
    _require("probe.features", load("probe.features", Names, path), "features", features)
    active.stressed(read(path.absolute()))
    _require_fusible(load("evaluate.ensembles", dict[str, Ensemble], path), path)
    return corpora


def _tasks(path: Path) -> list[str]:
    """The names that ``task`` defines, each fit for a folder, and each entry sound."""
    names = list(load("task", dict[str, object], path))
    for name in names:
        if not _NAME.fullmatch(name) or name.isdigit() or name in active.BESIDE:
            raise PipelineError(
                f"params.yaml: task has {name!r}, expected a name of letters, digits, '-' and '_', "
                f"not digits alone and none of {', '.join(active.BESIDE)}, rename it"
            )
        targets.of(name, path)
    return names


def _pretrained(encoders: Names, folds: Sequence[int], path: Path) -> Names:
    """The encoders that `pretrain` makes, from corpora and folds that are fit for it."""
    recipe = load("pretrain", Recipe, path)
    defined = load("encoder", dict[str, object], path)
    if bool(recipe.encoders) != bool(recipe.corpora):
        empty, other = "encoders", "corpora"
        if recipe.encoders:
            empty, other = other, empty
        raise PipelineError(
            f"params.yaml: pretrain.{other} is given, but pretrain.{empty} is empty, fill both in, "
            "or empty both"
        )
    for name in recipe.encoders:
        if name in defined or name == layout.OWN:
            raise PipelineError(
                f"params.yaml: pretrain.encoders has {name!r}, a name that is taken, rename it"
            )
    _require("pretrain.corpora", recipe.corpora, "corpus", load("corpus", dict[str, object], path))
    require_unscored(recipe.corpora, path)
    _require("pretrain.folds", recipe.folds, "folds", folds)
    if recipe.encoders or recipe.folds:
        _require("pretrain.start", [recipe.start], "encoders", encoders)
    if load("pretrained", str, path) == layout.OWN and recipe.folds:
        _require("folds", folds, "pretrain.folds", recipe.folds)
    return [*recipe.encoders, *([layout.OWN] if recipe.folds else [])]


def _require_fusible(ensembles: Mapping[str, Ensemble], path: Path) -> None:
    """Check that each ensemble averages systems of one task and of the same folds."""
    known = active.classifiers(read(path.absolute())) if ensembles else {}
    folds_of = {"/".join(system): used for system, used in known.items()}
    if ensembles and active.FUSED in load("encoders", Names, path):
        raise PipelineError(
            f"params.yaml: encoders has {active.FUSED!r}, which names the rows of "
            "evaluate.ensembles, rename it"
        )
    for name, one in ensembles.items():
        key, first = f"evaluate.ensembles.{name}", one.members[0]
        if not _NAME.fullmatch(name) or name.isdigit():
            raise PipelineError(
                f"params.yaml: evaluate.ensembles has {name!r}, expected a name of letters, "
                "digits, '-' and '_', not digits alone, rename it"
            )
        for member, system in zip(one.members, one.systems, strict=True):
            if member not in folds_of:
                raise PipelineError(
                    f"params.yaml: {key} has {member!r}, which is no active system, use of: "
                    f"{', '.join(folds_of)}"
                )
            if folds_of[member] != folds_of[first]:
                raise PipelineError(
                    f"params.yaml: {key} has {member!r} of folds {_shown(folds_of[member])} and "
                    f"{first!r} of {_shown(folds_of[first])}, which can't be averaged, remove one"
                )
            if system[0] != one.systems[0][0]:
                raise PipelineError(
                    f"params.yaml: {key} has {member!r} and {first!r}, which are of two tasks and "
                    "can't be averaged, remove one"
                )
        _require(key, one.members, "active", folds_of)


def _shown(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _require(key: str, names: Sequence[object], where: str, known: Collection[object]) -> None:
    for name in names:
        if name not in known:
            remedy = f"use one of: {', '.join(map(str, known))}" if known else "remove it"
            raise PipelineError(
                f"params.yaml: {key} has {name!r}, which {where} does not define, "
                f"add it there or {remedy}"
            )
        if names.count(name) > 1:
            raise PipelineError(f"params.yaml: {key} has {name!r} twice, remove one")
