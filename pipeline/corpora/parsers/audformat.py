"""Any database in audformat (audeering.github.io/audformat): some forty public corpora.

``db.yaml`` says what its tables hold, ``db.<table>.csv`` or ``.parquet`` what of each file or
segment. The emotion is a column of the scheme ``emotion``, or of that name; where several could be
meant, ``table`` and ``column`` under the corpus in params.yaml say which.
"""

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.corpora.entries import Choice, Corpus, Entry, OutOfScope, Reject, Row
from pipeline.corpora.folder import audio_files, text_file, text_files
from pipeline.corpora.parsers import table as labels
from pipeline.ground import ending
from pipeline.ground.errors import PipelineError

HEADER = "db.yaml"
SUFFIXES = (".parquet", ".csv")  # never .pkl, which audformat would open first: no code of others
ARCHIVES = ("*.zip", "*.tar", "*.tgz", "*.tar.gz", "*.7z")
# Schemes and columns that hold a category, the likeliest first.
NAMES = ("emotion", "emotions", "emotion.category", "emotion.categories", "emotion_category")
EMOTIONS = {
    "anger": "angry",
    "happiness": "happy",
    "joy": "happy",
    "sadness": "sad",
    "surprised": "surprise",
    "neutrality": "neutral",
}
ROLES = ("train", "dev", "test")
GENDERS = ("female", "male")

Place = tuple[str, float, float | None]


def parse(folder: Path, choice: Choice) -> Iterator[Entry]:
    """Yield an entry per row of the tables that hold the emotion, and one per other audio file.

    Raises:
        PipelineError: The extra is missing, the database is malformed, its audio is still in
            archives, or several tables or columns could be meant.
    """
    database, where = _database(folder)
    chosen = _chosen(folder, database, choice)
    with _reading(folder):
        _load(folder, database, where)
        rows = [one for name, column in chosen for one in _rows(database, where, name, column)]
    found = list(audio_files(folder))
    there = {one for one in found if isinstance(one, str)}
    unread = {one.source: one for one in found if isinstance(one, Reject)}
    if any(row.source not in there for row in rows):
        _require_extracted(folder)
    named = set()
    kept = []
    for row in rows:
        named.add(row.source)
        if row.source not in there:
            yield _rejected(row, unread.get(row.source))
        elif not row.emotion:
            yield Reject(
                row.source, "unlabelled", f"{row.label} has no emotion of its scheme", row.label
            )
        else:
            kept.append(row)
    yield from labels.named(kept)
    for rest in found:
        if isinstance(rest, str) and rest not in named:
            yield OutOfScope(rest, f"in no row of {', '.join(name for name, _ in chosen)}")
        elif isinstance(rest, Reject) and rest.source not in named:
            yield rest


def _rejected(row: Row, bad: Reject | None) -> Reject:
    """The row of a file that is not there, or can't be read."""
    if bad:
        return replace(bad, label=row.label)
    told = f"{row.label} names a file that is not there"
    return Reject(row.source, "missing", told, row.label)


def _database(folder: Path) -> tuple[Any, dict[str, Path]]:
    """The header, without data, and the file of each of its tables."""
    try:
        import audformat
    except ImportError:
        raise PipelineError(
            "parser audformat: not installed, run `pip install -e .[audformat]`"
        ) from None
    from ruamel.yaml import YAML

    path = text_file(folder, HEADER)
    if not path.is_file():
        raise PipelineError(f"{path}: no such file, expected a database in audformat")
    with _reading(path):
        # Not by audformat, whose YAML may hold code.
        header = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
        database = audformat.Database.load_header_from_yaml(header)
    where = {}
    for name in [*database.misc_tables, *database.tables]:
        paths = [text_file(folder, f"db.{name}{suffix}") for suffix in SUFFIXES]
        there = [one for one in paths if one.is_file()]
        if not there:
            raise PipelineError(f"{paths[-1]}: no such file, {HEADER} names its table: add it")
        where[name] = there[0]
    return database, where


def _load(folder: Path, database: Any, where: Mapping[str, Path]) -> None:
    """Read every table, where no pickle of it lies."""
    with ending.folder() as scratch:
        for name, path in where.items():
            (scratch / path.name).symlink_to(path.absolute())
            database[name].load(str(scratch / f"db.{name}"))


@contextmanager
def _reading(place: Path) -> Iterator[None]:
    """Turn what its library raises over a malformed database into one line."""
    try:
        yield
    except (PipelineError, FileNotFoundError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever it and the libraries below it have
        told = " ".join(str(error).split())[:200]
        raise PipelineError(
            f"{place}: no database in audformat ({type(error).__name__}: {told}), mend it"
        ) from None


def _chosen(folder: Path, database: Any, choice: Choice) -> list[tuple[str, str]]:
    """The tables and columns that hold the emotion; several only where each is another split."""
    every = [(name, column) for name in database.tables for column in database[name].columns]
    pairs = [pair for pair in every if _fits(pair, choice)]
    if not choice.column:
        pairs = _likeliest(database, pairs) or (pairs if choice.table else [])
    splits = [database[name].split_id for name, _ in pairs]
    apart = len(set(splits)) == len(splits) and None not in splits
    if len(pairs) == 1 or (pairs and (apart or choice.table) and _of_one_each(pairs)):
        return pairs
    named = ", ".join(f"{name} ({column})" for name, column in pairs or every)
    problem = "several tables or columns" if pairs else "no table or column"
    raise PipelineError(
        f"{folder}: {problem} may hold the emotion, set corpus.{folder.name}.table (a name, or a "
        f"pattern such as emotion.*) and .column to one of: {named}"
    )


def _fits(pair: tuple[str, str], choice: Choice) -> bool:
    name, column = pair
    fits = fnmatch.fnmatchcase(name, choice.table or "*")
    return fits and choice.column in ("", column)


def _likeliest(database: Any, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those whose scheme or name is a usual one of emotions, of the likeliest that is there."""
    for usual in NAMES:
        found = [
            (name, column)
            for name, column in pairs
            if usual in (column.casefold(), str(database[name][column].scheme_id).casefold())
        ]
        if found:
            return found
    return []


def _of_one_each(pairs: Sequence[tuple[str, str]]) -> bool:
    return len({name for name, _ in pairs}) == len(pairs)


def _rows(database: Any, where: Mapping[str, Path], name: str, column: str) -> Iterator[Row]:
    """A row for each of a table; its emotion is empty where there is none."""
    split = database.splits.get(database[name].split_id)
    role = split.type if split is not None and split.type in ROLES else ""
    about = {what: _values(database, what, name) for what in ("speaker", "gender", "language")}
    people = _people(database)
    segmented = database[name].type == "segmented"
    for number, (place, value) in enumerate(_cells(database, name, column), 1):
        told = {what: _of(values, place) for what, values in about.items()}
        person = people.get(told["speaker"], {})
        told = {what: cell or str(person.get(what) or "") for what, cell in told.items()}
        emotion = str(value).strip().lower() if _is_known(value) else ""
        gender = told["gender"].lower()
        label = f"{where[name]}: row {number}"
        yield Row(
            source=_inside(place[0], label),
            utterance=labels.stem(place[0]) + (f"@{labels.seconds(place[1])}" * segmented),
            speaker=told["speaker"],
            gender=gender if gender in GENDERS else "unknown",
            session=told["speaker"],
            emotion=EMOTIONS.get(emotion, emotion),
            language=told["language"],
            start_s=place[1],
            end_s=place[2],
            role=role,
            label=label,
        )


def _cells(database: Any, name: str, column: str) -> Iterator[tuple[Place, Any]]:
    """What a column holds of each file or segment: file, start and end, None to the file's end."""
    for index, value in database[name].df[column].items():
        file, start, end = index if isinstance(index, tuple) else (index, None, None)
        start_s = start.total_seconds() if _is_known(start) else 0.0
        yield (str(file), start_s, end.total_seconds() if _is_known(end) else None), value


def _values(database: Any, what: str, own: str) -> dict[Place, str]:
    """A column of that scheme or name, of all tables, that of ``own`` before others."""
    found: dict[Place, str] = {}
    for name in sorted(database.tables, key=lambda one: one != own):
        for column in database[name].columns:
            if what in (column, database[name][column].scheme_id):
                for place, value in _cells(database, name, column):
                    if _is_known(value):
                        found.setdefault(place, str(value))
    return found


def _of(values: Mapping[Place, str], place: Place) -> str:
    """That of a segment, else of its file."""
    return values.get(place) or values.get((place[0], 0.0, None), "")


def _people(database: Any) -> dict[str, Mapping[str, Any]]:
    """What the scheme of speakers says of each, in itself or in a table of its own."""
    scheme = database.schemes.get("speaker")
    told = getattr(scheme, "labels", None)
    if isinstance(told, str):
        told = database[told].df.to_dict("index")
    known = told.items() if isinstance(told, dict) else ()
    return {str(name): about for name, about in known if isinstance(about, dict)}


def _is_known(value: Any) -> bool:
    import pandas as pd

    return not pd.isna(value)


def _inside(file: str, label: str) -> str:
    path = PurePosixPath(file.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise PipelineError(f"{label}: file must lie within the corpus folder, got {file!r}")
    return path.as_posix()


def _require_extracted(folder: Path) -> None:
    archives = [path for pattern in ARCHIVES for path in text_files(folder, pattern)]
    if archives:
        raise PipelineError(
            f"{archives[0]}: audio that the tables name is missing and may be in this archive, "
            "remove it once it is unpacked in its folder"
        )


CORPUS = Corpus(parse=parse, chosen=True)
