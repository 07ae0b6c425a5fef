"""``ser preset NAME``: turn params.yaml into one of the published systems.

A preset is an overlay on the settings as shipped (``presets/demo.yaml``): mappings are merged,
everything else is replaced. So no preset leaves a trace of the one before. What is the user's own
stays: the definitions of corpora, encoders and own tasks, where and how fast, the numerics version.
"""

import difflib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from pipeline.cli.status import git
from pipeline.ground import documents, ending, files
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import PARAMS_FILE, load, read
from pipeline.ground.stage import Runtime
from pipeline.scoring import lists

PRESETS = Path("presets")
SHIPPED = PRESETS / "demo.yaml"
OWN = ("numerics_version", "runtime")
OWN_NAMES = ("corpus", "encoder")


def main(
    name: Annotated[str, typer.Argument(help="A file of presets/, such as gmp-atl.")],
    dry_run: Annotated[bool, typer.Option(help="Show the changes, write nothing.")] = False,
) -> None:
    """Turn params.yaml into a published system, and show what is replaced."""
    known = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    if name not in known:
        raise PipelineError(f"{PRESETS}: no preset {name!r}, choose one of: {', '.join(known)}")
    if not dry_run and edited(PARAMS_FILE):
        raise PipelineError(
            f"{PARAMS_FILE}: has uncommitted edits that a preset would mix with, "
            "commit or discard them first (git checkout params.yaml)"
        )
    read(PARAMS_FILE.absolute())  # it must be valid
    before = PARAMS_FILE.read_text("utf-8")
    shipped, overlay = _text(SHIPPED), _text(PRESETS / f"{name}.yaml")
    try:
        after, kept = keep_own(merged(shipped, overlay), before, shipped)
        require_sound(after)
    except PipelineError as error:
        raise PipelineError(f"{PRESETS / name}.yaml: {error}") from None
    typer.echo(difference(before, after, f"with {name}"), nl=False)
    if kept:
        typer.echo(f"yours, kept: {', '.join(kept)}")
    if not dry_run:
        files.write_text(PARAMS_FILE, after)


def difference(before: str, after: str, what: str) -> str:
    """The lines of params.yaml that change."""
    lines = (before.splitlines(keepends=True), after.splitlines(keepends=True))
    return "".join(difflib.unified_diff(*lines, PARAMS_FILE.name, what, n=0))


def merged(base: str, overlay: str) -> str:
    """The YAML text ``base`` with ``overlay`` merged in, comments kept.

    Raises:
        PipelineError: The overlay has a key that the base lacks, or another kind of value.
    """
    document = _load(base)
    # Loaded with its numbers' notation: 1e-4 stays 1e-4.
    _merge(document, _plain(YAML().load(overlay)), "")
    return _dump(document)


def defined(text: str, section: str, names: Mapping[str, object]) -> str:
    """The YAML ``text`` with more names in a section such as ``task.emotion.merge``."""
    document = _load(text)
    found = document
    for key in section.split("."):
        found = found[key]
    for name, value in names.items():
        _put(found, name, value)
    return _dump(document)


def keep_own(after: str, before: str, shipped: str) -> tuple[str, list[str]]:
    """The text ``after`` with what the user changed or added in ``before``, and its keys.

    Only what differs from ``shipped`` is the user's own.
    """
    default = documents.parse(shipped, str(SHIPPED))
    own = list(_own(documents.parse(before, PARAMS_FILE.name), default))
    if not own:
        return after, []
    made, users = _load(after), _load(before)
    for section, key in own:
        if section:
            _put(made[section], key, users[section][key])
        else:
            made[key] = users[key]
    return _dump(made), [f"{section}.{key}" if section else key for section, key in own]


def _own(users: dict[str, Any], default: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The sections and keys in which a user's settings are to be kept."""
    for key in OWN:
        if users[key] != default[key]:
            yield "", key
    for section in OWN_NAMES:
        for key, value in users[section].items() if isinstance(users[section], dict) else ():
            if default[section].get(key) != value:
                yield section, key
    for key in users["task"] if isinstance(users["task"], dict) else ():
        if key not in default["task"]:
            yield "task", key


def _put(names: CommentedMap, key: str, value: Any) -> None:
    """Set a name; a new one comes first, since a blank line belongs to the last."""
    if key in names:
        names[key] = value
    else:
        names.insert(0, key, value)


def _text(path: Path) -> str:
    """A file of presets/, sure to be YAML of plain values."""
    documents.read(path)
    return path.read_text("utf-8")


def require_sound(text: str) -> None:
    """Refuse what `plan` would refuse, before params.yaml is touched."""
    with ending.folder() as folder:
        path = folder / PARAMS_FILE.name
        path.write_text(text, "utf-8")
        for key in ("seed", "numerics_version"):
            load(key, int, path)
        load("runtime", Runtime, path)
        lists.check(path)


def _load(text: str) -> CommentedMap:
    document: CommentedMap = _yaml().load(text)
    return document


def _dump(document: CommentedMap) -> str:
    text = io.StringIO()
    _yaml().dump(document, text)
    return text.getvalue()


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True
    return yaml


def _plain(value: Any) -> Any:
    """Without the overlay's comments and styles, which are not for the file merged into."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _merge(base: CommentedMap, overlay: dict[str, Any], where: str) -> None:
    for key, value in overlay.items():
        # An open mapping, such as task.merge, takes new keys.
        if key not in base and len(base):
            raise PipelineError(f"{where}{key}: params.yaml has no such key, remove it")
        old = base.get(key)
        if key in base and isinstance(old, dict) != isinstance(value, dict):
            what = "a mapping of keys" if isinstance(old, dict) else "a value or a list"
            raise PipelineError(f"{where}{key}: must be {what}, as in params.yaml")
        if old and isinstance(old, CommentedMap):
            _merge(old, value, f"{where}{key}.")
        else:
            base[key] = value


def edited(path: Path) -> bool:
    """Whether Git knows the file in another state than it has."""
    return bool(git("status", "--porcelain", "--", str(path)).strip())
