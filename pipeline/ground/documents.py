"""The one way in which the project reads YAML: params.yaml, presets, experiments.

YAML 1.2 (``1e-4`` is a number) of mappings, lists, texts, numbers, true, false and null. Tags, keys
that are no text, duplicate keys, several documents, and what aliases make endless are refused,
since such a value would surprise whatever reads it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipeline.ground.errors import PipelineError

# No parameter comes near these; arithmetic on what lies beyond overflows.
LARGEST = 1e12
DEEPEST = 50
MOST_VALUES = 100_000

_SCALARS = (str, int, float, type(None))  # bool is an int


def read(path: Path, name: str = "") -> dict[str, Any]:
    """Parse a file, which errors call ``name``, or by its path.

    Raises:
        PipelineError: It cannot be read, or as `parse`.
    """
    name = name or str(path)
    if path.exists() and not path.is_file():
        raise PipelineError(f"{name}: not a file, put the project's own in its place")
    try:
        return parse(path.read_text("utf-8"), name)
    except OSError as error:
        raise PipelineError(
            f"{name}: cannot be read ({error.strerror}), run in the project's root"
        ) from None
    except UnicodeDecodeError as error:
        raise PipelineError(_invalid(name, error)) from None


def parse(text: str, name: str) -> dict[str, Any]:
    """Parse a text whose top level is a mapping.

    Raises:
        PipelineError: It is no such YAML, holds something else than plain values, or more of them
            than a parameter file can.
    """
    try:
        document = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        raise PipelineError(_invalid(name, error)) from None
    if not isinstance(document, dict):
        raise PipelineError(f"{name}: expected a mapping of sections at the top level")
    _count(document, name, (), {})
    return document


def _count(value: Any, name: str, where: tuple[str, ...], known: dict[int, int]) -> int:
    """How many values a document holds, those under an alias as often as it is used."""
    place = f"{name}: {'.'.join(where)[:80] or 'the top level'}"
    if not isinstance(value, dict | list):
        _require_plain(value, place)
        return 1
    if len(where) > DEEPEST:
        raise PipelineError(f"{place} nests more than {DEEPEST} deep, or into itself, mend it")
    if id(value) not in known:
        known[id(value)] = 1 + sum(
            _count(inner, name, (*where, key), known) for key, inner in _items(value, place)
        )
    if known[id(value)] > MOST_VALUES:
        raise PipelineError(f"{place} holds more than {MOST_VALUES:,} values, remove its aliases")
    return known[id(value)]


def _items(value: dict[Any, Any] | list[Any], place: str) -> Iterable[tuple[str, Any]]:
    if isinstance(value, list):
        return ((str(number), inner) for number, inner in enumerate(value))
    for key in value:
        if not isinstance(key, str):
            raise PipelineError(
                f"{place} has a key that is no text, put quotes around {str(key)[:40]}"
            )
    return value.items()


def _require_plain(value: object, place: str) -> None:
    if not isinstance(value, _SCALARS):
        kind = type(value).__name__
        raise PipelineError(f"{place} must be a text, a number, true, false or empty, got a {kind}")
    if isinstance(value, int | float) and abs(value) > LARGEST:
        raise PipelineError(f"{place} must be a number between -{LARGEST:g} and {LARGEST:g}")


def _invalid(name: str, error: Exception) -> str:
    return f"{name}: not valid YAML 1.2, {_first_line(error)}, mend it"


def _first_line(error: Exception) -> str:
    if isinstance(error, MarkedYAMLError) and error.problem:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}" if mark else ""
        return " ".join(error.problem.split()) + where
    return (str(error).splitlines() or [type(error).__name__])[0]
