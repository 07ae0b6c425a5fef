"""``ser init FOLDER``: from a folder of audio to a project that `dvc repro` runs."""

import io
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from ruamel.yaml import YAML

from pipeline.cli import preset
from pipeline.cli.start import columns, names, settings
from pipeline.cli.start.rows import Found, Labelled, table
from pipeline.corpora import registry, spellings
from pipeline.corpora.folder import audio_files
from pipeline.corpora.parsers.table import LABELS
from pipeline.corpora.registry import Parser
from pipeline.ground import documents, ending, files
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import PARAMS_FILE
from pipeline.splits import targets

RAW = Path("data/raw")
COVERED = 0.9  # of the audio files are utterances of a layout: it is that corpus
NAME = r"(?!\d+$)[A-Za-z0-9_-]+"


def main(  # noqa: PLR0913, PLR0917 -- a command's options
    folder: Annotated[Path, typer.Argument(help="Your audio, in any folders.")],
    name: Annotated[str, typer.Option(help="What the corpus is called; the folder's name.")] = "",
    labels: Annotated[Path | None, typer.Option(help="A CSV file with the labels.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="Which column is which, such as emotion=Label.")
    ] = None,
    pattern: Annotated[
        str, typer.Option(help="How paths are made, such as '{speaker}/{emotion}_{}'.")
    ] = "",
    language: Annotated[str, typer.Option(help="What is spoken, such as de.")] = "",
    add: Annotated[
        bool, typer.Option("--add", help="Keep the corpora and classes that are there.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Show what would be done, write nothing.")] = False,
) -> None:
    """Look at a folder of audio, write labels.csv and params.yaml, so that `dvc repro` runs.

    The emotions are found by a layout that is known (docs/corpora.md), by a CSV file whose columns
    have names of their own, or by names of files and folders; what was found is shown before
    anything is written. Files outside data/raw are copied there; nothing is overwritten.
    """
    name = _name(folder, name)
    found = look(folder, labels, dict(_pair(text) for text in column or ()), pattern)
    before = PARAMS_FILE.read_text("utf-8")
    if not dry_run and preset.edited(PARAMS_FILE):
        raise PipelineError(
            f"{PARAMS_FILE}: has uncommitted edits that this would mix with, "
            "commit or discard them first (git checkout params.yaml)"
        )
    after, told = (_added if add else _made)(before, name, language, found)
    home = RAW / name
    _show(found, told, home, folder)
    if dry_run:
        typer.echo(preset.difference(before, after, f"with {name}"), nl=False)
        return
    if not yes and not _agreed():
        raise PipelineError(f"ser init: nothing was written, add --yes to write {home}")
    _place(folder, home, found)
    files.write_text(PARAMS_FILE, after)
    typer.echo(f"\nwritten: {PARAMS_FILE}. Next:\n\n  dvc add {home}\n  dvc repro\n  ser show")


def look(folder: Path, labels: Path | None, told: Mapping[str, str], pattern: str) -> Found:
    """What a folder holds: by what the user says, by a layout, a table, or by names.

    Raises:
        PipelineError: There is no audio, or nothing tells its emotions.
    """
    if not folder.is_dir():
        raise PipelineError(f"{folder}: no such folder, name one that holds audio")
    sound = [one for one in audio_files(folder) if isinstance(one, str)]
    if not sound:
        raise PipelineError(f"{folder}: holds no audio file, see docs/corpora.md for the formats")
    if pattern:
        return names.by_pattern(sound, pattern)
    own = labels or _only_table(folder)
    found = None if own or told else _layout(folder, len(sound))
    if not found and own:
        found = _ready(folder, own, told) or columns.labelled(own, sound, told)
    found = found or names.guessed(sound)
    if not found:
        raise PipelineError(
            f"{folder}: neither names nor a table tell emotions (the first file is {sound[0]}), "
            "give --labels FILE.csv, or --pattern such as '{speaker}/{emotion}_{}'"
        )
    return found


def _layout(folder: Path, sounds: int) -> Found | None:
    """The corpus whose layout most of the files follow."""
    for parser in get_args(Parser):
        if parser in registry.OF_ANY_CORPUS:
            continue
        try:
            parsed = registry.parse(parser, folder)
        except PipelineError:
            continue
        if len(parsed.rows) + len(parsed.out_of_scope) >= COVERED * sounds and len(parsed.rows) > 1:
            rows = [
                Labelled(r.source, r.emotion, r.speaker, r.gender, r.session) for r in parsed.rows
            ]
            return Found(rows, [f"layout of {parser}"], parser)
    return None


def _only_table(folder: Path) -> Path | None:
    """The table beside the audio: labels.csv, or the one there is."""
    if (folder / LABELS).is_file():
        return folder / LABELS
    found = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in (".csv", ".tsv")]
    return found[0] if len(found) == 1 else None


def _ready(folder: Path, own: Path, told: Mapping[str, str]) -> Found | None:
    """A labels.csv that the parser `table` reads as it is."""
    if own != folder / LABELS or told:
        return None
    try:
        parsed = registry.parse("table", folder)
    except PipelineError:
        return None
    rows = [
        Labelled(r.source, r.emotion, r.speaker, r.gender, r.session, split=r.role)
        for r in parsed.rows
    ]
    return Found(rows, [str(own)], "table")


def _made(before: str, name: str, language: str, found: Found) -> tuple[str, list[str]]:
    """``params.yaml`` as shipped, for this corpus, and what to tell; what is the user's own stays.

    Raises:
        PipelineError: There are fewer than two classes, or something else is unsound.
    """
    classes = settings.classes(found.rows)
    if len(classes.names) < 2:
        raise PipelineError(
            f"{name}: expected two emotions or more, got {', '.join(classes.names) or 'none'}, "
            "choose another column or pattern"
        )
    divided, why = settings.split(found.rows)
    count = settings.folds(divided, found.rows)
    overlay = settings.overlay(name, classes, divided, count)
    shipped = preset.SHIPPED.read_text("utf-8")
    after, _ = preset.keep_own(preset.merged(shipped, _yaml(overlay)), before, shipped)
    return _defined(after, name, language, found), settings.told(classes, divided, why)


def _defined(text: str, name: str, language: str, found: Found) -> str:
    """With the corpus's definition; its language is as told, as it stands there, or unknown.

    Raises:
        PipelineError: Something else in the text is unsound.
    """
    known = documents.parse(text, PARAMS_FILE.name)["corpus"].get(name, {})
    language = language or known.get("language", "und")
    entry = {"parser": found.parser or "table", "language": language}
    after = preset.defined(text, "corpus", {name: entry})
    preset.require_sound(after)
    return after


def _added(before: str, name: str, language: str, found: Found) -> tuple[str, list[str]]:
    """``params.yaml`` with one corpus more, and what to tell: classes and split stay as they are.

    Its labels are merged into the classes that are there.
    """
    task = targets.of("emotion")
    labels = {row.emotion for row in found.rows if row.emotion and task.index(row.emotion) is None}
    meant = {label: spellings.meant(label, task.names) for label in sorted(labels)}
    covered = settings.merged({label: name for label, name in meant.items() if name})
    corpora = documents.parse(before, PARAMS_FILE.name)["corpora"]
    overlay = {"corpora": [*dict.fromkeys([*corpora, name])]}
    after = preset.defined(preset.merged(before, _yaml(overlay)), "task.emotion.merge", covered)
    left = [f"left out: {label}, no class is for it" for label, name in meant.items() if not name]
    return _defined(after, name, language, found), [*settings.merges(covered), *left]


def _show(found: Found, told: Sequence[str], home: Path, folder: Path) -> None:
    """What was found, and what follows from it."""
    speakers = {row.speaker for row in found.rows if row.speaker}
    for line in (*found.how, f"{len(found.rows)} utterances, {len(speakers)} speakers", *told):
        typer.echo(line)
    if folder.resolve() != home.resolve():
        typer.echo(f"copied: {folder} to {home}")
    if not found.parser:
        typer.echo(f"to be written: {home / LABELS}")


def _place(folder: Path, home: Path, found: Found) -> None:
    """The corpus in its place, with a ``labels.csv`` where one has to be written.

    Raises:
        PipelineError: Something would be overwritten.
    """
    if folder.resolve() == home.resolve():
        if not found.parser:
            _label(home, found)
        return
    if home.exists():
        raise PipelineError(f"{home}: is there already, choose another name by --name")
    home.parent.mkdir(parents=True, exist_ok=True)
    with ending.folder(home.parent, ".init-") as made:
        staged = made / home.name
        shutil.copytree(folder, staged)
        if not found.parser:
            _label(staged, found)
        staged.rename(home)


def _label(home: Path, found: Found) -> None:
    target = home / LABELS
    if target.exists():
        raise PipelineError(f"{target}: is there already, rename it and give it by --labels")
    files.write_text(target, table(found.rows))


def _name(folder: Path, name: str) -> str:
    """The corpus's name: as told, or the folder's in the letters that a name may have."""
    if name and not re.fullmatch(NAME, name):
        raise PipelineError(
            f"--name: must be letters, digits, - and _, and not digits alone, got {name!r}"
        )
    made = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-").lower()
    inside = folder.resolve().parent == RAW.resolve()
    name = name or (folder.resolve().name if inside else made)
    if not re.fullmatch(NAME, name):
        raise PipelineError(f"{folder}: no name for a corpus, give one by --name")
    return name


def _pair(text: str) -> tuple[str, str]:
    ours, mark, column = text.partition("=")
    if not mark:
        raise PipelineError(f"--column: expected a pair such as emotion=Label, got {text!r}")
    return ours.strip(), column.strip()


def _yaml(overlay: dict[str, Any]) -> str:
    text = io.StringIO()
    YAML(typ="safe").dump(overlay, text)
    return text.getvalue()


def _agreed() -> bool:
    return sys.stdin.isatty() and typer.confirm("Write this?")
