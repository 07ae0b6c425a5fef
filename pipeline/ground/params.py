"""The strict loader of ``params.yaml``: what every stage reads first.

No unknown key and no missing one: a misspelt parameter never falls back to a default in silence.
Each stage declares its section as a `Section` in its own module and reads it with `load`.
"""

import difflib
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from pipeline.ground import documents, files
from pipeline.ground.errors import PipelineError

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
    "tasks",
    "runtime",
    "task",
    "corpus",
    "encoder",
    "synthesize",
    "preprocess",
    "split",
    "pretrain",
    "extract",
    "multitask",
    "frames",
    "cluster",
    "retrain",
    "finetune",
    "crnn",
    "networks",
    "cross",
    "probe",
    "stress",
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


S = TypeVar("S", bound=Section)


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
    return _validated(key, kind, _find(key, path), path)


def load_part(key: str, kind: type[S]) -> S:
    """Read and validate a section as `load` does, but no more of it than ``kind`` has.

    Raises:
        PipelineError: As `load`.
    """
    value = _find(key, PARAMS_FILE)
    if isinstance(value, Mapping):
        value = {name: value[name] for name in kind.model_fields if name in value}
    return _validated(key, kind, value, PARAMS_FILE)


def parse(path: Path, kind: type[T]) -> T:
    """Read and validate the settings that a stage wrote as JSON.

    Raises:
        PipelineError: The file is missing, damaged, or not what ``kind`` must be.
    """
    try:
        return TypeAdapter(kind).validate_python(files.read_json(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(["", *map(str, first["loc"])])[1:] or "all of it"
        raise PipelineError(
            f"{path}: damaged or not written by this version ({where}: {first['msg']}, got "
            f"{_BRIEF.repr(first['input'])}), run `dvc repro`"
        ) from None


def _find(key: str, path: Path) -> Any:
    value: Any = read(path.absolute())
    seen: list[str] = []
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise PipelineError(_missing(path, seen, part, value))
        value = value[part]
        seen.append(part)
    return value


def _validated(key: str, kind: type[T], value: object, path: Path) -> T:
    try:
        return TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        raise PipelineError(_explain(path, key, kind, value, error)) from None


@cache
def read(path: Path) -> dict[str, Any]:
    """Return the parsed file; its top-level keys must be exactly `KEYS`."""
    document = documents.read(path, path.name)
    for key in document:
        if key not in KEYS:
            raise PipelineError(f"{path.name}: unknown key {key!r}{_nearest(str(key), KEYS)}")
    for key in KEYS:
        if key not in document:
            raise PipelineError(f"{path.name}: missing key {key!r}, add it (see README)")
    return document


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, [str(k) for k in known], n=1)
    return f", did you mean {close[0]!r}?" if close else f", known: {', '.join(map(str, known))}"


def _missing(path: Path, seen: list[str], part: str, value: object) -> str:
    section = ".".join(seen) or "the top level"
    known = list(value) if isinstance(value, Mapping) else []
    return f"{path.name}: no {part!r} under {section}{_nearest(part, known)}"


def _explain(path: Path, key: str, kind: Any, value: object, error: ValidationError) -> str:
    """One line for the first problem that pydantic found."""
    found = error.errors(include_url=False)
    # A misspelt key is also a missing one: its neighbour is the better remedy. Under another kind
    # every key is unknown.
    wrong_kind = [o for o in found if o["loc"] == ("kind",) and o["type"] == "literal_error"]
    unknown = [one for one in found if one["type"] == _UNKNOWN]
    first = [*wrong_kind, *unknown, *found][0]
    keys = _keys(value, first)
    dotted = ".".join([key, *map(str, keys)])
    if first["type"] == _UNKNOWN:
        known = _names(kind, first["loc"][:-1])
        return f"{path.name}: unknown key {dotted!r}{_nearest(str(keys[-1]), known)}"
    if first["type"] == "missing":
        return f"{path.name}: missing key {dotted!r}, add it (see README)"
    tag = str(first.get("ctx", {}).get("discriminator", "")).strip("'")
    if first["type"] == "union_tag_not_found":
        near = difflib.get_close_matches(tag, first["input"], n=1)
        return f"{path.name}: " + (
            f"unknown key '{dotted}.{near[0]}', did you mean {tag!r}?"
            if near
            else f"missing key '{dotted}.{tag}', add it (see README)"
        )
    if first["type"] == "union_tag_invalid":
        kinds, got = first["ctx"]["expected_tags"], _BRIEF.repr(first["ctx"]["tag"])
        return f"{path.name}: {dotted}.{tag} must be one of {kinds}, got {got}"
    # Where a value may be of several types, each has something to say.
    rules = dict.fromkeys(_rule(one) for one in found if _keys(value, one) == keys)
    return f"{path.name}: {dotted} must {' or '.join(rules)}, got {_BRIEF.repr(first['input'])}"


_UNKNOWN = "extra_forbidden"
_TAGS = ("kind", "target")  # what tells a section from others that may stand in its place


def _rule(error: ErrorDetails) -> str:
    """What pydantic expects, to be read after "must"."""
    if error["type"] in ("model_type", "dict_type", "model_attributes_type"):
        return "be a mapping of keys"
    rule = re.sub(r"^(Value error,|\w+ should be)", "be", error["msg"])
    return re.sub(r"^\w+ should ", "", rule)


def _keys(value: object, error: ErrorDetails) -> list[int | str]:
    """Where an error is: pydantic's location without its names for the types of a union."""
    kept: list[int | str] = []
    location = error["loc"]
    if isinstance(value, Mapping) and location[:1] in [(value.get(tag),) for tag in _TAGS]:
        location = location[1:]
    for part in location:
        inner = isinstance(value, Mapping) and part in value
        if inner or (isinstance(value, list) and isinstance(part, int)):
            kept.append(part)
            value = value[part]  # type: ignore[index]
        elif error["type"] == "missing" and part == error["loc"][-1]:
            kept.append(part)
    return kept


def _names(kind: Any, location: Sequence[int | str]) -> list[str]:
    """The keys that a section knows, which lies at pydantic's location in ``kind``."""
    found = list(_sections(kind))
    for part in location:
        fields = [(field.alias or n, field) for s in found for n, field in s.model_fields.items()]
        inner = [s for n, field in fields if n == part for s in _sections(field.annotation)]
        found = inner or [s for s in found if part in _tags(s)] or found
    return [field.alias or name for one in found for name, field in one.model_fields.items()]


def _tags(section: type[Section]) -> tuple[Any, ...]:
    """The values of a section's tag."""
    found = [section.model_fields[tag] for tag in _TAGS if tag in section.model_fields]
    return tuple(value for field in found for value in get_args(field.annotation))


def _sections(kind: Any) -> Iterator[type[Section]]:
    """The sections that an annotation holds, not those within them."""
    if isinstance(kind, type) and issubclass(kind, Section):
        yield kind
    for argument in get_args(kind):
        yield from _sections(argument)
