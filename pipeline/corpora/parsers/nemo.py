"""nEMO, emotional speech in Polish (Christop, LREC-COLING 2024); nine actors.

Layout: ``samples/`` and ``data.tsv``, which names each file and says who speaks it and how.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from pipeline.corpora.entries import Corpus, Entry, OutOfScope, Reject, Row, lookup, stem
from pipeline.corpora.folder import audio_files, by_stem, joined, text_file
from pipeline.corpora.tables import GENDERS, Line, read

EMOTIONS = {
    "anger": "angry",
    "fear": "fear",
    "happiness": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprised": "surprise",
}
LABELS = "data.tsv"
COLUMNS = ("file_id", "emotion", "speaker_id", "gender")


def parse(folder: Path) -> Iterator[Entry]:
    """Yield an entry per row, and one per audio file that no row names."""
    found = list(audio_files(folder))
    yield from (one for one in found if isinstance(one, Reject))
    lines: dict[str, list[Line]] = defaultdict(list)
    for line in read(text_file(folder, LABELS), COLUMNS):
        lines[stem(line.cells["file_id"])].append(line)
    for label, source in joined(lines, by_stem(one for one in found if isinstance(one, str))):
        yield _entry(label, source) if label else OutOfScope(source or "", f"not in {LABELS}")


def _entry(line: Line, source: str | None) -> Entry:
    cells = line.cells
    if source is None:
        told = f"{line.where} names a file that is not there"
        return Reject(f"samples/{cells['file_id']}", "missing", told, line.where)
    return Row(
        source=source,
        utterance=stem(source),
        speaker=cells["speaker_id"],
        gender=line.choice("gender", GENDERS),
        session=cells["speaker_id"],
        emotion=lookup(EMOTIONS, cells["emotion"], line.where, "emotion"),
        label=line.where,
    )


_SPEAKER_COUNTS = {
    "EB0": 539, "IC0": 540, "KD0": 540, "KS0": 540, "MK0": 450,
    "MP0": 256, "SM0": 538, "TP0": 539, "WR0": 539,
}  # fmt: skip

# Counted in the table that its authors publish.
CORPUS = Corpus(
    parse=parse,
    counts={
        "emotion": dict(zip(EMOTIONS.values(), (749, 736, 749, 809, 769, 669), strict=True)),
        "speaker": _SPEAKER_COUNTS,
        "gender": {"female": 2069, "male": 2412},
    },
)
