"""Which module parses a corpus, and the checks that hold for all of them.

`preprocess` calls `parse` on ``data/raw/<corpus>`` and decodes the rows it returns.
"""

import filecmp
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.corpora.entries import Corpus, OutOfScope, Reject, Row
from pipeline.ground.code import parser_module
from pipeline.ground.errors import PipelineError

# Each is a module of `pipeline.corpora.parsers`, imported by its name alone: so the code of one
# corpus does not hang on the parsers of the others (`pipeline.ground.code`).
Parser = Literal[
    "demo",
    "ravdess",
    "crema-d",
    "tess",
    "savee",
    "iemocap",
    "emodb",
    "emotion-share",
    "table",
]


def corpus_of(parser: str) -> Corpus:
    """A parser, and what its corpus is known to hold."""
    corpus: Corpus = importlib.import_module(parser_module(parser)).CORPUS
    return corpus


@dataclass(frozen=True)
class Parsed:
    """All that a corpus folder holds, each list sorted by source; utterance names are unique."""

    rows: list[Row]
    rejects: list[Reject]
    out_of_scope: list[OutOfScope]


def parse(parser: str, folder: Path) -> Parsed:
    """Parse a corpus folder.

    Raises:
        PipelineError: The folder is missing or holds no utterance, a file has an unknown code or
            a malformed row, or two different files claim one utterance name.
    """
    if not folder.is_dir():
        raise PipelineError(
            f"{folder}: no such folder, put the corpus there (docs/corpora.md) and track it with "
            f"`dvc add {folder}`"
        )
    entries = sorted(corpus_of(parser).parse(folder), key=lambda entry: entry.source)
    rows, copies = _unique(folder, (entry for entry in entries if isinstance(entry, Row)))
    if not rows:
        raise PipelineError(
            f"{folder}: no utterance of the layout {parser!r} among {len(entries)} audio files, "
            "see docs/corpora.md"
        )
    return Parsed(
        rows=rows,
        rejects=[entry for entry in entries if isinstance(entry, Reject)],
        out_of_scope=[entry for entry in entries if isinstance(entry, OutOfScope)] + copies,
    )


def _unique(folder: Path, rows: Iterable[Row]) -> tuple[list[Row], list[OutOfScope]]:
    """Rows with distinct utterance names: archives often nest a second copy of the corpus."""
    first: dict[str, Row] = {}
    copies = []
    for row in rows:
        known = first.setdefault(row.utterance, row)
        if known is row:
            continue
        same_part = (row.start_s, row.end_s) == (known.start_s, known.end_s)
        if row.source == known.source and same_part:
            raise PipelineError(
                f"{folder}: {row.source} at {row.start_s:g} s is listed twice, remove one"
            )
        if not filecmp.cmp(folder / row.source, folder / known.source, shallow=False):
            raise PipelineError(
                f"{folder}: {known.source} and {row.source} differ but share the utterance name "
                f"{row.utterance!r}, rename one"
            )
        copies.append(OutOfScope(row.source, "a copy under the same name"))
    return list(first.values()), copies
