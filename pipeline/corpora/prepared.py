"""What became of a corpus row: the clips that were made of it, or why there are none."""

import json
from dataclasses import dataclass
from typing import Any

from pipeline.audio import decoding
from pipeline.corpora.entries import Row


@dataclass(frozen=True)
class Segment:
    """One clip that was made: its id after the utterance's, and that of its source if augmented.

    ``sha256`` is that of the 16-bit samples, ``size_bytes`` the length of the FLAC file.
    """

    suffix: str
    parent: str | None
    start_s: float
    duration_s: float
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Prepared:
    """What became of a row: its segments, or the code and detail of its rejection."""

    row: Row
    segments: tuple[Segment, ...] = ()
    source: decoding.Source | None = None
    code: str = ""
    detail: str = ""


def pack(prepared: Prepared, flacs: bytes) -> bytes:
    """What the store keeps of an utterance: a line of JSON, then its FLAC files."""
    known = {**vars(prepared), "segments": [vars(segment) for segment in prepared.segments]}
    known |= {"row": None, "source": prepared.source and vars(prepared.source)}
    return json.dumps(known).encode() + b"\n" + flacs


def unpack(row: Row, stored: bytes) -> tuple[Prepared, bytes]:
    """What `pack` was given for this row."""
    line, _, flacs = stored.partition(b"\n")
    known: dict[str, Any] = json.loads(line)
    segments = tuple(Segment(**segment) for segment in known["segments"])
    source = decoding.Source(**known["source"]) if known["source"] else None
    return Prepared(row, segments, source, known["code"], known["detail"]), flacs
