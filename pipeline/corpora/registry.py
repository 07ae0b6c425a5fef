"""Which module parses a corpus, and the checks that hold for all of them.

`preprocess` calls `parse` on ``data/raw/<corpus>`` and decodes the rows it returns.
"""

import filecmp
import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pipeline.corpora import speakers
from pipeline.corpora.entries import FOUND, Choice, Corpus, Entry, OutOfScope, Reject, Row
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
    "emodb-ambiguous",
    "emotion-share",
    "esd",
    "nemo",
    "meld",
    "msp-podcast",
    "mead",
    "table",
    "audformat",
]

# Those that read whatever one makes: two of their corpora need not be the same recordings.
OF_ANY_CORPUS = ("demo", "table", "audformat")
TOLD = 3  # rejects that are named where nothing else was found


def corpus_of(parser: str) -> Corpus:
    """A parser, and what its corpus is known to hold."""
    corpus: Corpus = importlib.import_module(parser_module(parser)).CORPUS
    return corpus


def entries(parser: str, folder: Path, choice: Choice = FOUND) -> Iterable[Entry]:
    """What a parser makes of a folder, unchecked.

    Raises:
        PipelineError: As `parse`, or there is nothing to choose in such a corpus.
    """
    corpus = corpus_of(parser)
    if corpus.chosen:
        return corpus.parse(folder, choice)
    if choice != FOUND:
        raise PipelineError(
            f"params.yaml: corpus.{folder.name} has table or column, which parser {parser} does "
            "not read, remove them"
        )
    return corpus.parse(folder)


@dataclass(frozen=True)
class Parsed:
    """All that a corpus folder holds, each list sorted by source; utterance names are unique.

    ``warnings`` tell what was made of names that are one or none.
    """

    rows: list[Row]
    rejects: list[Reject]
    out_of_scope: list[OutOfScope]
    warnings: list[str] = field(default_factory=list)


def parse(parser: str, folder: Path, choice: Choice = FOUND) -> Parsed:
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
    found = sorted(entries(parser, folder, choice), key=_place)
    rows, warnings = speakers.settled([entry for entry in found if isinstance(entry, Row)])
    others = [entry for entry in found if not isinstance(entry, Row)]
    settled = sorted([*_unique(folder, rows), *others], key=_place)
    parsed = Parsed(
        rows=[entry for entry in settled if isinstance(entry, Row)],
        rejects=[entry for entry in settled if isinstance(entry, Reject)],
        out_of_scope=[entry for entry in settled if isinstance(entry, OutOfScope)],
        warnings=warnings,
    )
    if not parsed.rows:
        told = "".join(f"; {one.source}: {one.detail}" for one in parsed.rejects[:TOLD])
        raise PipelineError(
            f"{folder}: no utterance of the layout {parser!r} among {len(found)} audio files "
            f"and labels, see docs/corpora.md{told}"
        )
    return parsed


def _place(entry: Entry) -> tuple[str, float]:
    """Parts of one file in their order, so that it is read once from start to end."""
    return entry.source, getattr(entry, "start_s", 0.0)


def _unique(folder: Path, rows: Iterable[Row]) -> Iterator[Entry]:
    """Rows of distinct utterance names: archives often nest a second copy of the corpus.

    A copy under the same name is out of scope. Where its labels are others, which holds is not
    known, and none of its name is kept.
    """
    parts: dict[tuple[str, float, float | None], Row] = {}
    named: dict[str, list[Row]] = {}
    for row in rows:
        known = parts.setdefault((row.source, row.start_s, row.end_s), row)
        if known is not row:
            lines = f" ({known.label}; {row.label})" if row.label else ""
            raise PipelineError(
                f"{folder}: {row.source} at {row.start_s:g} s is listed twice{lines}, remove one"
            )
        named.setdefault(row.utterance, []).append(row)
    for first, *others in named.values():
        for other in others:
            _require_copy(folder, first, other)
        if all(replace(other, source=first.source) == first for other in others):
            yield first
            for other in others:
                label = "" if other.label == first.label else other.label
                yield OutOfScope(other.source, "a copy under the same name", label)
        else:
            for row, other in zip([first, *others], [*others, first], strict=True):
                detail = f"the audio of {other.source} under another label"
                yield Reject(row.source, "contradiction", detail, row.label)


def _require_copy(folder: Path, one: Row, other: Row) -> None:
    same_part = (one.start_s, one.end_s) == (other.start_s, other.end_s)
    if not same_part or not filecmp.cmp(folder / one.source, folder / other.source, shallow=False):
        raise PipelineError(
            f"{folder}: {one.source} and {other.source} differ but share the utterance name "
            f"{one.utterance!r}, rename one"
        )
