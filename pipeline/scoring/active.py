"""Which systems the lists of ``params.yaml`` switch on; nothing that lies on disk says so.

What `plan` keeps, `evaluate` scores and ``ser compare`` pairs.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any, TypeAlias

from pipeline.ground.params import PARAMS_FILE, load, read

System: TypeAlias = tuple[str, str]  # start and method, or features and head


_METHODS = ("methods.cached", "methods.pretrained", "methods.retrained")
_NAMES = ("features", *_METHODS, "crnn.features", "share.features", "share.heads")


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
    """The folds of each start and method; empty where a list is."""
    methods, folds = params["methods"], params["folds"]
    found = dict.fromkeys(product(params["features"], methods["cached"]), folds)
    found |= {(features, "crnn"): folds for features in params["crnn"]["features"]}
    found |= {("pretrained", method): folds for method in methods["pretrained"]}
    found |= {("retrained", method): params["adapted"] for method in methods["retrained"]}
    return {system: list(used) for system, used in found.items() if used}


def results(params: Mapping[str, Any]) -> dict[str, list[str]]:
    """The outputs that are scored or drawn: their paths below each folder of ``artifacts``."""
    systems = classifiers(params)
    return {
        "classifiers": [f"{s}/{m}/{fold}" for (s, m), folds in systems.items() for fold in folds],
        "share": [f"{features}/{head}" for features, head in regressors(params)],
        "probes": list(params["probe"]["features"]),
        "units": [str(fold) for fold in params["adapted"]],
    }


def regressors(params: Mapping[str, Any]) -> list[System]:
    """Each features and head of share."""
    return list(product(params["share"]["features"], params["share"]["heads"]))
