"""dvc.yaml as the tests read it: stages, and what stands in their ``params``."""

from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

from tests.conftest import ROOT

STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text("utf-8"))


def params_of(stage: Mapping[str, Any]) -> list[str]:
    """The keys of params.yaml that a stage depends on."""
    learnt = PARAMS["multitask"]["task"]
    keys = [key for key in stage.get("params", []) if isinstance(key, str)]
    return [key.replace("${multitask.task}", learnt) for key in keys]


def code_of(stage: Mapping[str, Any]) -> list[str]:
    """The keys of code.yaml that a stage depends on."""
    found = [key["code.yaml"] for key in stage.get("params", []) if not isinstance(key, str)]
    return [key for keys in found for key in keys]
