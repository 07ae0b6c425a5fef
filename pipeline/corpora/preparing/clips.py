"""Where the clips of an utterance lie, and what the manifest says of them."""

import re
from pathlib import Path
from urllib.parse import quote

from pipeline.corpora.entries import Row
from pipeline.corpora.manifest import Clip
from pipeline.corpora.prepared import Prepared, Segment
from pipeline.ground import files

SUFFIX = ".flac"
# Of Linux file systems, in bytes: a name, and a path less what the project puts before it.
LONGEST_NAME, LONGEST_PATH = 255, 3_500
_KEPT = 160


def clips_of(prepared: Prepared, corpus: str, language: str) -> list[Clip]:
    """The rows of the manifest that an utterance makes."""
    return [_clip(prepared.row, segment, corpus, language) for segment in prepared.segments]


def remove(prepared: Prepared, clips: Path) -> None:
    """Take back the clips of an utterance that the audit refused."""
    for segment in prepared.segments:
        (clips / path_of(prepared.row.utterance + segment.suffix)).unlink()


def _clip(row: Row, segment: Segment, corpus: str, language: str) -> Clip:
    utterance = f"{corpus}/{row.utterance}"
    return Clip(
        clip=utterance + segment.suffix,
        utterance=utterance,
        corpus=corpus,
        path=path_of(row.utterance + segment.suffix),
        source=row.source,
        speaker=f"{corpus}/{row.speaker}" if row.speaker else "",
        gender=row.gender,
        session=row.session,
        emotion=row.emotion,
        intensity=row.intensity,
        language=row.language or language,
        duration_s=segment.duration_s,
        start_s=segment.start_s,
        augmented_from="" if segment.parent is None else utterance + segment.parent,
        sha256=segment.sha256,
        shares=dict(row.shares),
        votes=dict(row.votes),
        votes2=dict(row.votes2),
        dimensions=dict(row.dimensions),
    )


def path_of(name: str) -> str:
    """A clip's path beside the manifest: its name with unusual characters percent-encoded.

    A part that is too long for a file system keeps its beginning and gets a hash; of a path that is
    too long nothing is left but the hash.
    """
    quoted = quote(name, safe="/ #~@+=,()'")
    parts = [f"%2E{part[1:]}" if part.startswith(".") else part for part in quoted.split("/")]
    path = "/".join(["audio", *map(_short, parts[:-1]), _short(parts[-1], len(SUFFIX))]) + SUFFIX
    return path if len(path) <= LONGEST_PATH else f"audio/{files.digest(name)}{SUFFIX}"


def _short(part: str, reserved: int = 0) -> str:
    if len(part) + reserved <= LONGEST_NAME:
        return part
    kept = re.sub("%.?$", "", part[:_KEPT])
    return f"{kept}~{files.digest(part)}"
