"""Labels from a table whose columns have names of their own: which is the path, the emotion, ..."""

import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.cli.start.rows import Found, Labelled
from pipeline.corpora import spellings, tables
from pipeline.ground.errors import PipelineError

# Words of a header's cell that often, but not always, mean a column of ours.
_GUESSES = {
    "path": ("clip", "name", "utterance", "id"),
    "emotion": ("class", "category", "target", "emotionlabel"),
    "speaker": ("user", "person", "client", "speakerid"),
    "session": ("dialog", "dialogue", "recording"),
    "split": ("fold", "set"),
    "start": ("starttime",),
    "end": ("endtime",),
}
WORDS = {ours: {ours, *known, *_GUESSES.get(ours, ())} for ours, known in tables.SYNONYMS.items()}
NAMED = 0.5  # of a column's cells name files: it is the path
KNOWN = 0.6  # of a column's cells are emotions
_GENDERS = {"f": "female", "w": "female", "m": "male"}  # female, woman, weiblich; male, Mann
_SPLITS = {"train": "train", "training": "train", "dev": "dev", "devel": "dev", "valid": "dev"}
_SPLITS |= {"val": "dev", "validation": "dev", "development": "dev", "test": "test"}

Rows = Sequence[Mapping[str, str]]


def labelled(table: Path, files: Sequence[str], told: Mapping[str, str]) -> Found:
    """The rows of a table, its columns found by their names and cells, or as ``told``.

    Args:
        table: A CSV file.
        files: The audio, relative to the corpus folder.
        told: Our column: the table's, where the user says so.

    Raises:
        PipelineError: The table is malformed or has no rows, a column that was told is not there,
            or path or emotion is not found.
    """
    rows = [line.cells for line in tables.read(table, ())]
    if not rows:
        raise PipelineError(f"{table}: expected a header and rows, got none, add them")
    names = [*rows[0]]
    for ours, column in told.items():
        if ours not in WORDS or column not in names:
            raise PipelineError(
                f"--column: expected one of {', '.join(WORDS)}=one of {', '.join(names)}, "
                f"got {ours}={column}"
            )
    index = _index(files)
    found = {**_columns(names, rows, index), **told}
    for ours in ("path", "emotion"):
        if ours not in found:
            raise PipelineError(
                f"{table}: no column is like {ours!r} among {', '.join(names)}, name it by "
                f"--column {ours}=COLUMN"
            )
    made = [_row(row, found, index) for row in rows]
    if not all(row.split for row in made):  # a part that is not known: no partition
        made = [replace(row, split="") for row in made]
        found.pop("split", None)
    how = [f"{ours}: column {column!r} of {table.name}" for ours, column in found.items()]
    there = set(files)
    if lost := [row.path for row in made if row.path not in there]:
        how.append(f"NOT THERE: {len(lost)} of {len(made)} files, the first {lost[0]!r}")
    return Found(made, how)


def _index(files: Sequence[str]) -> dict[str, str]:
    """Files by every way a table may write them, where only one is meant."""
    known: dict[str, set[str]] = defaultdict(set)
    for file in files:
        parts = file.split("/")
        for number in range(len(parts)):
            tail = "/".join(parts[number:])
            for name in (tail, posixpath.splitext(tail)[0]):
                known[name].add(file)
    return {name: meant.pop() for name, meant in known.items() if len(meant) == 1}


def _file(cell: str, index: Mapping[str, str]) -> str | None:
    """The file that a cell names: by its whole path or its end, with or without suffix."""
    parts = cell.replace("\\", "/").removeprefix("./").split("/")
    tails = ("/".join(parts[number:]) for number in range(len(parts)))
    return next((index[tail] for tail in tails if tail in index), None)


def _columns(names: Sequence[str], rows: Rows, index: Mapping[str, str]) -> dict[str, str]:
    def part(name: str, meaning: Callable[[str], str | None]) -> float:
        cells = [row[name] for row in rows if row[name]]
        return sum(meaning(cell) is not None for cell in cells) / max(1, len(cells))

    found: dict[str, str] = {}
    paths = {name: part(name, lambda cell: _file(cell, index)) for name in names}
    emotions = {name: part(name, spellings.canonical) for name in names}
    for ours, shares, least in (("path", paths, NAMED), ("emotion", emotions, KNOWN)):
        best = max(names, key=lambda name: (shares[name], _is_called(name, ours)))
        if shares[best] >= least:
            found[ours] = best
    for ours in WORDS:
        left = [name for name in names if name not in found.values()]
        named = next((name for name in left if _is_called(name, ours)), None)
        if ours not in found and named and (ours != "path" or paths[named]):
            found[ours] = named
    return found


def _is_called(name: str, ours: str) -> bool:
    words = [word for word in re.split(r"[\W_]+", name.casefold()) if word]
    return bool({*words, "".join(words)} & WORDS[ours])


def _row(row: Mapping[str, str], found: Mapping[str, str], index: Mapping[str, str]) -> Labelled:
    cells = {ours: row[column] for ours, column in found.items()}
    cells["path"] = _file(cells["path"], index) or cells["path"]
    if "gender" in cells:
        cells["gender"] = _GENDERS.get(cells["gender"][:1].lower(), "")
    if "split" in cells:
        cells["split"] = _SPLITS.get(cells["split"].casefold(), "")
    return Labelled(**cells)
