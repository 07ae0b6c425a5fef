"""CSV files that people write: labels of a corpus, lists of folds, demographics.

They are read line by line, so that an error names its line. What spreadsheets make of a CSV file
is read, too: semicolons, tabs or bars, decimal commas beside them, UTF-16 with its mark, a line
``sep=;``, blank rows, capitals in the header.
"""

import codecs
import csv
import difflib
import io
import math
import re
import reprlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.ground.errors import PipelineError

GENDERS = {"": "unknown", "unknown": "unknown", "female": "female", "f": "female"}
GENDERS |= {"male": "male", "m": "male"}

_DELIMITERS = ",;\t|"
# What others call our columns; a spelling close to ours is found without a list.
SYNONYMS = {
    "path": ("file", "filename", "fname", "audio", "wav", "wavfile"),
    "emotion": ("label", "emo"),
    "speaker": ("spk", "spkr", "actor", "participant", "subject", "talker"),
    "gender": ("sex",),
    "session": (),
    "language": ("lang", "locale"),
    "split": ("partition", "subset"),
    "start": ("begin", "onset"),
    "end": ("stop", "offset"),
}


@dataclass(frozen=True)
class Line:
    """A row of a table: where it stands, and its cells by column, stripped and in NFC."""

    where: str
    cells: Mapping[str, str]
    decimal_comma: bool = False

    def number(self, name: str, low: float, high: float) -> float | None:
        """The number in a cell, None where it is empty or absent."""
        text = self.cells.get(name, "")
        if not text:
            return None
        point = text.replace(",", ".")
        try:
            value = float(point if self.decimal_comma else text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            remedy = "" if point == text else ", write it with a point and no other mark"
            raise PipelineError(
                f"{self.where}: {name} must be {low:g} to {high:g}, got {text!r}{remedy}"
            )
        return value

    def choice(self, name: str, known: Mapping[str, str]) -> str:
        """What a cell's word stands for, in capitals or not."""
        value = self.cells.get(name, "").lower()
        if value not in known:
            names = ", ".join(sorted(filter(None, known)))
            raise PipelineError(f"{self.where}: {name} must be one of {names}, got {value!r}")
        return known[value]


def read(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Line]:
    """Yield the rows of a CSV file with a header, without blank ones.

    The names of columns are matched without case and blanks; an ``optional`` one that ends in
    ``_`` stands for all that begin with it. Other columns keep their names.

    Raises:
        PipelineError: The file is missing or malformed, lacks a required column, or has one whose
            name is close to that of a column it lacks.
    """
    text = _text(path)
    delimiter, text = _delimiter(text, required)
    rows = _rows(path, text, delimiter)
    line, header = next(rows, (1, []))
    names = [_canonical(name, (*required, *optional)) for name in header]
    width = max((number for number, name in enumerate(names, 1) if name), default=0)
    _require_columns(f"{path}: line {line}", names[:width], required, optional)
    for line, cells in rows:
        where = f"{path}: line {line}"
        if len(cells) < width or any(cells[width:]):
            raise PipelineError(f"{where}: expected {width} cells, got {len(cells)}")
        yield Line(where, dict(zip(names[:width], cells, strict=False)), delimiter != ",")


def _text(path: Path) -> str:
    if path.exists() and not path.is_file():  # reading a pipe or a device may never end
        raise PipelineError(f"{path}: not a regular file, put a CSV file in its place")
    try:
        held = path.read_bytes()
    except FileNotFoundError:
        raise PipelineError(
            f"{path}: no such file, add it (docs/corpora.md shows its columns)"
        ) from None
    wide = held.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = held.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + held.count(b"\n", 0, error.start)
        raise PipelineError(
            f"{path}: line {line}: not a UTF-8 CSV file (byte 0x{held[error.start]:02x}), "
            "convert it to UTF-8"
        ) from None
    if "\0" in text:
        line = 1 + text.count("\n", 0, text.index("\0"))
        raise PipelineError(f"{path}: line {line}: has a NUL byte, remove it or save it as UTF-8")
    return unicodedata.normalize("NFC", text)


def _delimiter(text: str, required: Sequence[str]) -> tuple[str, str]:
    """What separates the cells, and the text without the line with which Excel is told so."""
    if told := re.match(r"sep=([,;\t|])(?=\r?\n)", text):
        return told[1], text[told.end() :]
    first = next((line for line in text[:100_000].splitlines() if line.strip()), "")

    def fit(delimiter: str) -> tuple[int, int]:
        names = next(csv.reader([first], delimiter=delimiter))
        found = {_canonical(name, required) for name in names}
        return len(found & set(required)), len(names)

    return max(_DELIMITERS, key=fit), text


def _rows(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the last line of each row that is not blank, and its stripped cells."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 0
    try:
        for cells in rows:
            line = rows.line_num
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield line, stripped
    except csv.Error as error:
        raise PipelineError(
            f"{path}: line {line + 1}: not a UTF-8 CSV file ({error}), mend it"
        ) from None


def _canonical(name: str, known: Sequence[str]) -> str:
    """The column of ours that is meant by a header's cell, or the cell's text."""
    bare = "".join(name.replace("\ufeff", "").split()).casefold()
    if any(one.endswith("_") and bare.startswith(one) for one in known):
        return bare
    return next((one for one in known if one.casefold() == bare), name.strip())


def _require_columns(
    where: str, names: Sequence[str], required: Sequence[str], optional: Sequence[str]
) -> None:
    others = [name for name in filter(None, names) if not _is_ours(name, (*required, *optional))]
    for name in required:
        if name not in names:
            close = next((other for other in others if _is_close(other, name)), "")
            raise PipelineError(
                f"{where}: missing column {name!r}, expected {', '.join(required)}, got "
                f"{reprlib.repr(','.join(names))}" + (f", rename {close!r}" if close else "")
            )
    for name in (one for one in optional if one not in names):
        for other in others:
            if _is_close(other, name):
                raise PipelineError(
                    f"{where}: column {other!r} is not read, rename it to {name!r}, or to "
                    "something unlike it"
                )
    for name in filter(None, names):
        if names.count(name) > 1:
            raise PipelineError(f"{where}: column {name!r} stands there twice, remove one")


def _is_ours(name: str, known: Sequence[str]) -> bool:
    return name in known or any(one.endswith("_") and name.startswith(one) for one in known)


def _is_close(name: str, ours: str) -> bool:
    """Whether a column's name is most likely meant to be one of ours."""
    words = re.split(r"[\W_]+", name.casefold())
    bare, plain = "".join(words), ours.replace("_", "").casefold()
    if plain in words or bare.startswith(plain) or bare in SYNONYMS.get(ours, ()):
        return True
    part = len(bare) >= 4 and plain.startswith(bare)
    alike = difflib.SequenceMatcher(None, bare, plain).ratio() > 0.8
    return part or alike or sorted(bare) == sorted(plain)
