"""What `ser init` found out about a corpus, however it did: one row an utterance."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Labelled:
    """One row of ``labels.csv``; what is not known is empty."""

    path: str
    emotion: str
    speaker: str = ""
    gender: str = ""
    session: str = ""
    language: str = ""
    split: str = ""
    start: str = ""
    end: str = ""


@dataclass(frozen=True)
class Found:
    """The rows of a corpus, and how they were found, for a person.

    ``parser`` reads the folder as it is; where it is empty, a ``labels.csv`` has to be written.
    """

    rows: Sequence[Labelled]
    how: Sequence[str]
    parser: str = ""


def table(rows: Sequence[Labelled]) -> str:
    """The text of a ``labels.csv``: columns that no row fills are left out."""
    used = [f.name for f in fields(Labelled) if any(getattr(row, f.name) for row in rows)]
    names = [*dict.fromkeys(["path", "emotion", "speaker", *used])]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(row, name) for name in names] for row in rows)
    return text.getvalue()
