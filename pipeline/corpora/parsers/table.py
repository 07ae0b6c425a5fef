"""Any corpus that its user describes in one CSV file: ``labels.csv`` in the corpus folder.

Columns: ``path`` (of the audio, relative to the folder), ``emotion``, ``speaker``; optional
``gender`` (female, male), ``session``, ``language``, ``intensity``, ``split`` (train, dev, test),
``start`` and ``end`` (seconds, of an utterance within a longer file) and ``share_<emotion>``
(the fraction of listeners, 0 to 1), ``votes_<emotion>`` (how many raters chose it),
``votes2_<emotion>`` (how many named it a second one) and ``dimension_<name>`` (such as arousal: a
mean rating). Other columns are ignored. The demo is such a
corpus.
"""

import difflib
import os
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath

from pipeline.corpora import links
from pipeline.corpora.entries import Corpus, Entry, OutOfScope, Reject, Row
from pipeline.corpora.folder import audio_files, misread, text_file
from pipeline.corpora.manifest import (
    DIMENSION_PREFIX,
    RATED,
    SECOND_PREFIX,
    SHARE_PREFIX,
    VOTES_PREFIX,
)
from pipeline.corpora.tables import GENDERS, Line, read
from pipeline.ground.errors import PipelineError

LABELS = "labels.csv"
REQUIRED = ("path", "emotion", "speaker")
OPTIONAL = ("gender", "session", "language", "intensity", "split", "start", "end", *RATED.values())
# What a cell of such a column may hold.
LIMITS = {SHARE_PREFIX: (0, 1), VOTES_PREFIX: (0, 1e6), DIMENSION_PREFIX: (-1e6, 1e6)}
LIMITS |= {SECOND_PREFIX: (0, 1e6)}
HELPED = 3  # missing files for which the nearest one is looked up,
MANY = 20_000  # among so many
_ROLES = {"": "", "train": "train", "dev": "dev", "devel": "dev", "test": "test"}


def parse(folder: Path) -> Iterator[Entry]:
    """Yield an entry per row, and one per audio file that no row names.

    Raises:
        PipelineError: A column is missing, or a value is malformed; the line is named.
    """
    found = _found(folder)
    unnamed = dict(found)
    rows, missing = [], []
    for line in read(text_file(folder, LABELS), REQUIRED, OPTIONAL):
        path = _path(line)
        name = next((one for one in (path, *misread(path)) if one in found), path)
        unnamed.pop(name, None)
        file = found.get(name) or _hidden(folder, path)
        entry = _entry(line, file) if isinstance(file, str) else file
        if isinstance(entry, Row):
            rows.append(entry)
        elif entry:
            yield replace(entry, label=line.where)
        else:
            missing.append((line.where, path))
    yield from named(rows)
    for number, (where, path) in enumerate(missing):
        near = _nearest(path, unnamed or found) if number < HELPED else ""
        yield Reject(path, "missing", f"{where} names a file that is not there{near}", where)
    for rest in unnamed.values():
        yield rest if isinstance(rest, Reject) else OutOfScope(rest, f"not in {LABELS}")


def _found(folder: Path) -> dict[str, str | Reject]:
    """What lies in the folder by its name in NFC; of equal files in two forms, the first.

    Raises:
        PipelineError: Names of files that differ are one in NFC.
    """
    found: dict[str, str | Reject] = {}
    for file in audio_files(folder):
        name = unicodedata.normalize("NFC", file if isinstance(file, str) else file.source)
        if found.setdefault(name, file) is not file:
            raise PipelineError(
                f"{folder}: two files are called {name}, in Unicode forms that differ, rename one"
            )
    return found


def _path(line: Line) -> str:
    path = line.cells["path"]
    if not {"", ".", ".."} & {*path.split("/")}:
        return path  # as nearly all are: of 100,000 rows every path object counts
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts:
        raise PipelineError(f"{line.where}: path must lie within the corpus folder, got {path!r}")
    return pure.as_posix()


def _hidden(folder: Path, path: str) -> str | Reject | None:
    """A file that the walk passes over, such as one without an audio suffix, if it is there."""
    # Path.is_file raises over a name that no file can have.
    if not os.path.isfile(folder / path):  # noqa: PTH113
        return None
    return links.refused(folder, path) or path


def _entry(line: Line, source: str) -> Row | Reject:
    cells = line.cells
    rated = {kind: _rated(line, prefix) for kind, prefix in RATED.items()}
    start_s, end_s = line.number("start", 0, 1e6), line.number("end", 0, 1e6)
    if not cells["emotion"] and not any(rated.values()):
        return Reject(source, "unlabelled", f"{line.where} has no emotion")
    return Row(
        source=source,
        utterance=stem(source) + ("" if start_s is None else f"@{seconds(start_s)}"),
        speaker=cells["speaker"],
        gender=line.choice("gender", GENDERS),
        session=cells.get("session") or cells["speaker"],
        emotion=cells["emotion"].lower(),
        intensity=cells.get("intensity", ""),
        language=cells.get("language", ""),
        start_s=start_s or 0.0,
        end_s=end_s,
        role=line.choice("split", _ROLES),
        label=line.where,
        **rated,  # type: ignore[arg-type]
    )


def named(rows: Sequence[Row]) -> Iterator[Row]:
    """The rows, those with a start in common named by their ends, too."""
    ends: dict[tuple[str, float], set[float | None]] = defaultdict(set)
    for row in rows:
        ends[row.source, row.start_s].add(row.end_s)
    for row in rows:
        if row.end_s is None or len(ends[row.source, row.start_s]) == 1:
            yield row
        else:
            part = f"@{seconds(row.start_s)}-{seconds(row.end_s)}"
            yield replace(row, utterance=stem(row.source) + part)


def stem(source: str) -> str:
    """The path without its suffix, Unicode-normalised."""
    name, suffix = posixpath.splitext(source)
    return unicodedata.normalize("NFC", name if len(suffix) > 1 else source)


def seconds(time_s: float) -> str:
    """A time in as few digits as tell it from every other."""
    short = f"{time_s:g}"
    return short if float(short) == time_s else repr(time_s)


def _nearest(path: str, names: Iterable[str]) -> str:
    """A file whose name is that of a missing one, or like it."""
    last = PurePosixPath(path.replace("\\", "/")).name.casefold()
    names = list(islice(names, MANY))
    same = [name for name in names if PurePosixPath(name).name.casefold() == last]
    close = same or difflib.get_close_matches(path, names, 1)
    return f", the nearest that is there: {close[0]}" if close else ""


def _rated(line: Line, prefix: str) -> dict[str, float]:
    names = [name for name in line.cells if name.startswith(prefix)]
    given = {name: line.number(name, *LIMITS[prefix]) for name in names}
    return {n.removeprefix(prefix): value for n, value in given.items() if value is not None}


CORPUS = Corpus(parse=parse)
