"""CSV files that people write: labels of a corpus, lists of folds, demographics.

Parsers under `pipeline.corpora` and `pipeline.partition` read them line by line, so that an error
names its line.
"""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.errors import PipelineError


def read(path: Path, required: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, cells) of a CSV file with a header; a byte-order mark is passed over.

    Raises:
        PipelineError: The file is missing or malformed, or lacks a required column.
    """
    try:
        rows = csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline=""), strict=True)
        missing = [name for name in required if name not in (rows.fieldnames or ())]
        if missing:
            raise PipelineError(
                f"{path}: line 1: missing column {missing[0]!r}, expected {', '.join(required)}"
            )
        for cells in rows:
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
