"""What the code expects of params.yaml, read from its calls of `pipeline.ground.params.load`.

So a test of the file needs no second list of sections, and a new one is found where it is read.
"""

import ast
import importlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic.fields import FieldInfo

from pipeline.ground.code import ROOT
from pipeline.ground.params import Section

ANY = "*"  # in a key: the name of a corpus or an encoder


def declared() -> list[tuple[tuple[str, ...], Any]]:
    """Each key that is loaded, in parts, with what it must be; broad keys come first."""
    found = []
    for path in sorted([*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("stages/*.py")]):
        tree = ast.parse(path.read_text("utf-8"))
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "load" and node.args[1:]:
                key, kind = _key(node.args[0]), ast.unparse(node.args[1])
                if key and kind != "object":
                    known = _names(module, tree)
                    found.append((tuple(key.split(".")), eval(kind, known)))  # noqa: S307
    return sorted(found, key=lambda one: len(one[0]))


def _key(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(p.value) if isinstance(p, ast.Constant) else ANY for p in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _names(module: str, tree: ast.Module) -> dict[str, Any]:
    """A module's names, and those of this project that its functions import."""
    names = dict(vars(importlib.import_module(module)))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pipeline."):
            for alias in node.names:
                names[alias.name] = _imported(str(node.module), alias.name)
    return names


def _imported(module: str, name: str) -> Any:
    """What ``from module import name`` gives."""
    try:
        return importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return getattr(importlib.import_module(module), name)


def matches(pattern: tuple[str, ...], path: tuple[Any, ...]) -> bool:
    """Whether a key lies under ``pattern``, or is it."""
    pairs = zip(pattern, path, strict=False)
    return len(path) >= len(pattern) and all(a in (ANY, b) for a, b in pairs)


def keys(value: object, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key of a document, in parts."""
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        yield (*above, key)
        yield from keys(inner, (*above, key))


def out_of_range(kind: Any, value: object = None) -> Iterator[object]:
    """Values of the right type that ``kind`` rules out: beyond a bound, no such choice.

    Args:
        kind: An annotation, or a field of a section.
        value: What it holds now; a list keeps its other items.
    """
    if isinstance(kind, FieldInfo):
        bounds, inner = kind.metadata, kind.annotation
    elif get_origin(kind) is Annotated:
        inner, *infos = get_args(kind)
        bounds = [bound for info in infos for bound in getattr(info, "metadata", ())]
    else:
        bounds, inner = [], kind
    for bound in bounds:
        for name, wrong in _WRONG.items():
            if (limit := getattr(bound, name, None)) is not None:
                yield wrong(limit)
    if bounds:
        return
    if get_origin(inner) is list:
        yield from ([bad] for bad in out_of_range(get_args(inner)[0]))
    elif get_origin(inner) is not None and all(isinstance(one, str) for one in get_args(inner)):
        yield "no-such-choice"


_WRONG: dict[str, Any] = {
    "ge": lambda limit: limit - 1,
    "gt": lambda limit: limit,
    "le": lambda limit: limit + 1,
    "lt": lambda limit: limit,
    "multiple_of": lambda limit: limit + 1,
    "min_length": lambda limit: [],
    "pattern": lambda limit: "!",
}


def field_of(kind: Any, path: tuple[Any, ...]) -> Any:
    """The field at a key below a section, the annotation itself at its own, None elsewhere."""
    for part in path:
        section = next(iter(_sections(kind)), None)
        if section is None:
            return None
        by_name = {f.alias or name: f for name, f in section.model_fields.items()}
        if part not in by_name:
            return None
        kind = by_name[part]
    return kind


def _sections(kind: Any) -> Iterator[type[Section]]:
    kind = kind.annotation if isinstance(kind, FieldInfo) else kind
    if isinstance(kind, type) and issubclass(kind, Section):
        yield kind
    for argument in get_args(kind):
        yield from _sections(argument)
