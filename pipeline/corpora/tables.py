"""CSV files that people write: labels of a corpus, lists of folds, demographics.

Parsers under `pipeline.corpora` and `pipeline.splits.partition` read them line by line, so that an
error names its line.
"""

import csv
import io
import math
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.ground.errors import PipelineError


def read(path: Path, required: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, cells) of a CSV file with a header; a byte-order mark is passed over.

    Raises:
        PipelineError: The file is missing or malformed, or lacks a required column.
    """
    try:
        text = path.read_text("utf-8-sig") if path.is_file() or not path.exists() else None
        if text is None:  # reading a pipe or a device may never end
            raise PipelineError(f"{path}: not a regular file, put a CSV file in its place")
        rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        _require_columns(f"{path}: line 1", rows.fieldnames or (), required)
        for cells in rows:
            if any("\0" in str(cell) for cell in cells.values()):
                raise PipelineError(f"{path}: line {rows.line_num}: has a NUL byte, remove it")
            if None in cells or None in cells.values():
                raise PipelineError(
                    f"{path}: line {rows.line_num}: expected {len(rows.fieldnames or ())} cells"
                )
            yield rows.line_num, {name: cell.strip() for name, cell in cells.items()}
    except FileNotFoundError:
        raise PipelineError(
            f"{path}: no such file, add it (docs/corpora.md shows its columns)"
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise PipelineError(f"{path}: not a UTF-8 CSV file ({error}), convert it") from None


def _require_columns(where: str, names: Sequence[str], required: Sequence[str]) -> None:
    found = reprlib.repr(",".join(names))
    for name in required:
        if name not in names:
            raise PipelineError(
                f"{where}: missing column {name!r}, expected {', '.join(required)}, separated by "
                f"commas, got {found}"
            )
    for name in names:
        if names.count(name) > 1:
            raise PipelineError(f"{where}: column {name!r} stands there twice, remove one")


def number(
    where: str, cells: Mapping[str, str], name: str, low: float, high: float
) -> float | None:
    """The number in a cell, None where it is empty or absent."""
    text = cells.get(name, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise PipelineError(f"{where}: {name} must be {low:g} to {high:g}, got {text!r}")
    return value
