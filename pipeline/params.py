"""The strict loader of ``params.yaml``: what every stage reads first.

YAML 1.2 (``1e-4`` is a number), no duplicate keys, no unknown ones: a misspelt parameter never
falls back to a default in silence. Each stage declares its section as a `Section` in its own
module and reads it with `load`.
"""

import difflib
import re
import reprlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipeline.errors import PipelineError

PARAMS_FILE = Path("params.yaml")

# Every top-level key of params.yaml; a stage reads its own section and the shared ones it needs.
KEYS = (
    "seed",
    "numerics_version",
    "corpora",
    "encoders",
    "features",
    "pretrained",
    "folds",
    "adapted",
    "methods",
    "task",
    "runtime",
    "corpus",
    "encoder",
    "synthesize",
    "preprocess",
    "split",
    "extract",
    "multitask",
    "frames",
    "cluster",
    "retrain",
    "finetune",
    "crnn",
    "share",
    "probe",
    "evaluate",
)

# YAML's aliases can make a value of any size out of a few lines.
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxstring = 2, 100

T = TypeVar("T")


class Section(BaseModel):
    """A section of ``params.yaml``: immutable, every key required, no unknown key, no coercion."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, populate_by_name=True, allow_inf_nan=False
    )


def load(key: str, kind: type[T], path: Path = PARAMS_FILE) -> T:
    """Read and validate one value of ``params.yaml``.

    Args:
        key: A dotted key, such as ``finetune`` or ``encoder.tiny``.
        kind: What it must be: a `Section`, or any type that pydantic validates.
        path: The file, relative to the working directory.

    Raises:
        PipelineError: The file is unreadable, or a key is missing, unknown, mistyped or out of
            range; the message names the key, the rule, and the nearest known name.
    """
    value: Any = read(path.resolve())
    seen: list[str] = []
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise PipelineError(_missing(path, seen, part, value))
        value = value[part]
        seen.append(part)
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise PipelineError(_explain(path, key, kind, error)) from None


@cache
def read(path: Path) -> dict[str, Any]:
    """Return the parsed file; its top-level keys must be exactly `KEYS`."""
    try:
        document = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    except OSError as error:
        raise PipelineError(
            f"{path.name}: cannot be read ({error.strerror}), run in the project's root"
        ) from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise PipelineError(
            f"{path.name}: not valid YAML 1.2, {_first_line(error)}, mend it"
        ) from None
    if not isinstance(document, dict):
        raise PipelineError(f"{path.name}: expected a mapping of sections at the top level")
    for key in document:
        if key not in KEYS:
            raise PipelineError(f"{path.name}: unknown key {key!r}{_nearest(str(key), KEYS)}")
    for key in KEYS:
        if key not in document:
            raise PipelineError(f"{path.name}: missing key {key!r}, add it (see README)")
    return document


def _first_line(error: Exception) -> str:
    if isinstance(error, MarkedYAMLError) and error.problem:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}" if mark else ""
        return " ".join(error.problem.split()) + where
    return str(error).splitlines()[0]


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, [str(k) for k in known], n=1)
    return f", did you mean {close[0]!r}?" if close else f", known: {', '.join(map(str, known))}"


def _missing(path: Path, seen: list[str], part: str, value: object) -> str:
    section = ".".join(seen) or "the top level"
    known = list(value) if isinstance(value, Mapping) else []
    return f"{path.name}: no {part!r} under {section}{_nearest(part, known)}"


def _explain(path: Path, key: str, kind: Any, error: ValidationError) -> str:
    """One line for the first problem that pydantic found."""
    found = error.errors(include_url=False)
    # A misspelt key is also a missing one: its neighbour is the better remedy.
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    location = [str(part) for part in first["loc"]]
    dotted = ".".join([key, *location])
    if first["type"] == "extra_forbidden":
        return f"{path.name}: unknown key {dotted!r}{_nearest(location[-1], _fields(kind))}"
    if first["type"] == "missing":
        return f"{path.name}: missing key {dotted!r}, add it (see README)"
    rule = re.sub(r"^(Value error,|\w+ should be)", "be", first["msg"])
    rule = re.sub(r"^\w+ should ", "", rule)
    return f"{path.name}: {dotted} must {rule}, got {_BRIEF.repr(first['input'])}"


def _fields(kind: Any) -> list[str]:
    """Every key name that a section and its sub-sections know."""
    names: list[str] = []
    for name, field in getattr(kind, "model_fields", {}).items():
        names.append(field.alias or name)
        names += _fields(field.annotation)
    return names
