"""Every known corpus by parser name, and the checks that hold for all of them.

`preprocess` calls `parse` on ``data/raw/<corpus>`` and decodes the rows it returns.
"""

import filecmp
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.corpora.entries import Corpus, OutOfScope, Reject, Row
from pipeline.corpora.parsers import (
    crema_d,
    demo,
    emodb,
    emotion_share,
    iemocap,
    ravdess,
    savee,
    table,
    tess,
)
from pipeline.ground.errors import PipelineError

CORPORA: dict[str, Corpus] = {
    "demo": demo.CORPUS,
    "ravdess": ravdess.CORPUS,
    "crema-d": crema_d.CORPUS,
    "tess": tess.CORPUS,
    "savee": savee.CORPUS,
    "iemocap": iemocap.CORPUS,
    "emodb": emodb.CORPUS,
    "emotion-share": emotion_share.CORPUS,
    "table": table.CORPUS,
}


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
    entries = sorted(CORPORA[parser].parse(folder), key=lambda entry: entry.source)
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
