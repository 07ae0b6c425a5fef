"""How much speech a corpus holds, told before it is decoded: by its manifest, or by headers.

Of each kind of file at most `SAMPLED` are opened; the others are taken to have as many bytes a
second.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.corpora import manifest, registry
from pipeline.corpora.entries import Choice, Row
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import PARAMS_FILE, read

RAW = Path("data/raw")
SAMPLED = 200
# Of the demo's corpus, which a stage makes: emotions a speaker, and seconds of an utterance.
SPOKEN, SPOKEN_S = 8, 1.93


@dataclass(frozen=True)
class Amount:
    """Seconds of speech in clips, without augmented copies, and what says so; None: unknown."""

    seconds: float | None
    clips: int
    source: str


def of(corpus: str, folder: Path = manifest.CLIPS) -> Amount:
    """How much there is in one corpus; ``folder`` is where its prepared clips would be."""
    prepared = folder / corpus / "manifest.csv"
    if prepared.is_file():
        lengths = [
            float(row["duration_s"])
            for row in files.read_csv(prepared)
            if not row["augmented_from"]
        ]
        return Amount(sum(lengths), len(lengths), "its manifest")
    if _entry(corpus)["parser"] == "demo":
        told = read(PARAMS_FILE.absolute())["synthesize"]
        count = told["speakers"] * told["takes"] * SPOKEN
        return Amount(count * SPOKEN_S, count, "params.yaml")
    rows = _rows(corpus)
    return _measured(RAW / corpus, rows) if rows else Amount(None, 0, "not here, or not readable")


def _entry(corpus: str) -> dict[str, Any]:
    """What params.yaml says of the corpus."""
    found: dict[str, Any] = read(PARAMS_FILE.absolute())["corpus"][corpus]
    return found


def _rows(corpus: str) -> list[Row]:
    """What the parser reads; nothing where `preprocess` would say what is wrong."""
    told = _entry(corpus)
    choice = Choice(str(told.get("table", "")), str(told.get("column", "")))
    try:
        found = registry.entries(told["parser"], RAW / corpus, choice)
        return [entry for entry in found if isinstance(entry, Row)]
    except (PipelineError, OSError, ImportError):
        return []


def _measured(folder: Path, rows: Sequence[Row]) -> Amount:
    """From the parts that the rows name, and the headers of some of the files of the others."""
    longest = float(read(PARAMS_FILE.absolute())["preprocess"]["max_clip_s"])
    parts = [row.end_s - row.start_s for row in rows if row.end_s is not None]
    kinds: dict[str, list[Path]] = {}
    for row in rows:
        if row.end_s is None and (path := folder / row.source).is_file():
            kinds.setdefault(path.suffix.lower(), []).append(path)
    opened = 0
    for paths in kinds.values():
        found = {path: length for path in _spread(paths) if (length := _length(path))}
        a_byte = sum(found.values()) / max(1, sum(path.stat().st_size for path in found))
        parts += [found.get(path, path.stat().st_size * a_byte) for path in paths]
        opened += len(found)
    if not sum(parts):
        return Amount(None, 0, "not here, or not readable")
    clips = sum(math.ceil(length / longest) for length in parts)
    return Amount(sum(parts), clips, f"{opened} headers" if opened else "its tables")


def _spread(paths: Sequence[Path]) -> Sequence[Path]:
    """At most `SAMPLED`, evenly over the list."""
    return paths[:: -(-len(paths) // SAMPLED)]


def _length(path: Path) -> float | None:
    """Seconds by the header; None where libsndfile can't tell: a film, or what is damaged."""
    import soundfile

    try:
        told = soundfile.info(path)
    except (RuntimeError, OSError):
        return None
    return float(told.duration) if 0 < told.duration < math.inf else None
