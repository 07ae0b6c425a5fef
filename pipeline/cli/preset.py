"""``ser preset NAME``: turn params.yaml into one of the published systems.

A preset is an overlay: mappings are merged, everything else is replaced. Comments of params.yaml
stay where they are.
"""

import difflib
import io
import subprocess
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import PARAMS_FILE, read

PRESETS = Path("presets")


def main(
    name: Annotated[str, typer.Argument(help="A file of presets/, such as gmp-atl.")],
    dry_run: Annotated[bool, typer.Option(help="Show the changes, write nothing.")] = False,
) -> None:
    """Merge a published system's settings into params.yaml, and show what changed."""
    known = sorted(path.stem for path in PRESETS.glob("*.yaml"))
    if name not in known:
        raise PipelineError(f"{PRESETS}: no preset {name!r}, choose one of: {', '.join(known)}")
    if not dry_run and _edited(PARAMS_FILE):
        raise PipelineError(
            f"{PARAMS_FILE}: has uncommitted edits that a preset would mix with, "
            "commit or discard them first (git checkout params.yaml)"
        )
    read(PARAMS_FILE.absolute())  # it must be valid
    before = PARAMS_FILE.read_text("utf-8")
    after = merged(before, (PRESETS / f"{name}.yaml").read_text("utf-8"))
    lines = (before.splitlines(keepends=True), after.splitlines(keepends=True))
    typer.echo("".join(difflib.unified_diff(*lines, "params.yaml", f"with {name}", n=0)), nl=False)
    if not dry_run:
        files.write_text(PARAMS_FILE, after)


def merged(base: str, overlay: str) -> str:
    """The YAML text ``base`` with ``overlay`` merged in, comments kept.

    Raises:
        PipelineError: The overlay has a key that the base lacks.
    """
    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True
    document = yaml.load(base)
    # Loaded with its numbers' notation: 1e-4 stays 1e-4.
    _merge(document, _plain(YAML().load(overlay)), "")
    text = io.StringIO()
    yaml.dump(document, text)
    return text.getvalue()


def _plain(value: Any) -> Any:
    """Without the overlay's comments and styles, which are not for the file merged into."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _merge(base: CommentedMap, overlay: dict[str, Any], where: str) -> None:
    for key, value in overlay.items():
        # An open mapping, such as task.merge, takes new keys.
        if key not in base and len(base):
            raise PipelineError(f"preset: params.yaml has no key {where}{key}, remove it")
        if isinstance(value, dict) and isinstance(base.get(key), CommentedMap) and base[key]:
            _merge(base[key], value, f"{where}{key}.")
        elif isinstance(value, list) and isinstance(base.get(key), CommentedSeq):
            _replace_items(base, key, value)
        else:
            base[key] = value


def _replace_items(base: CommentedMap, key: str, items: list[Any]) -> None:
    """Replace a list's items; a comment that follows it would be lost (params.yaml has none)."""
    base[key] = new = CommentedSeq(items)
    if not items:
        new.fa.set_flow_style()
        if key in base.ca.items:
            # The comment beside the key stands after an empty list, as after any other value.
            base.ca.items[key][3:] = [None]


def _edited(path: Path) -> bool:
    """Whether Git knows the file in another state than it has."""
    command = ["git", "status", "--porcelain", "--", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return bool(done.stdout.strip())
