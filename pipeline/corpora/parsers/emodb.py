"""EmoDB, the Berlin Database of Emotional Speech (Burkhardt et al., Interspeech 2005).

Layout: ``wav/SSTTTEv.wav``: speaker, text, emotion (initial of the German word), version. Release
2 adds ``laryngo/``, what a laryngograph recorded under the same names, and 281 utterances whose
emotion fewer than 80 % of the listeners recognised, listed in a table. `parse` leaves both out;
`emodb_ambiguous` keeps the latter.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pipeline.corpora.entries import Corpus, Entry, OutOfScope, Reject, Row, lookup, stem
from pipeline.corpora.folder import audio_files, by_stem, joined, text_files
from pipeline.corpora.tables import Line, read

EMOTIONS = {
    "W": "angry",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happy",
    "T": "sad",
    "N": "neutral",
}
# audEERING's first release had speaker genders wrong; these are the authors' own.
GENDERS = dict.fromkeys(("03", "10", "11", "12", "15"), "male") | dict.fromkeys(
    ("08", "09", "13", "14", "16"), "female"
)
AMBIGUOUS = "db.emotion.categories.ambiguous.csv"
_NAME = re.compile(r"(\d\d)([a-z]\d\d)([A-Z])([a-z]?)")


def parse(folder: Path, ambiguous: bool = False) -> Iterator[Entry]:
    """Yield an entry per audio file, and one per row of the table of ambiguous ones."""
    spoken = []
    for found in audio_files(folder):
        if isinstance(found, Reject):
            yield found
        elif "laryngo" in PurePosixPath(found).parts:
            yield OutOfScope(found, "a laryngograph's signal")
        else:
            spoken.append(found)
    listed: dict[str, list[Line]] = defaultdict(list)
    for path in text_files(folder, AMBIGUOUS):
        for line in read(path, ("file",)):
            listed[stem(line.cells["file"])].append(line)
    for doubt, source in joined(listed, by_stem(spoken)):
        where = doubt.where if doubt else ""
        if doubt and source is None:
            told = f"{where} names a file that is not there"
            yield Reject(doubt.cells["file"], "missing", told, where)
        elif doubt and not ambiguous:
            yield OutOfScope(source or "", "ambiguous: recognised by fewer than 80 %", where)
        else:
            yield replace(parse_source(source or ""), label=where)


def parse_source(source: str) -> Entry:
    """The entry of one file."""
    name = stem(source)
    match = _NAME.fullmatch(name)
    if not match:
        return OutOfScope(source, "not named as in EmoDB")
    speaker, _, emotion, _ = match.groups()
    return Row(
        source=source,
        utterance=name,
        speaker=speaker,
        gender=GENDERS.get(speaker, "unknown"),
        session=speaker,
        emotion=lookup(EMOTIONS, emotion, source, "emotion"),
    )


_EMOTION_COUNTS = (127, 81, 46, 69, 71, 62, 79)
_SPEAKER_COUNTS = {
    "03": 49, "08": 58, "09": 43, "10": 38, "11": 55,
    "12": 35, "13": 61, "14": 69, "15": 56, "16": 71,
}  # fmt: skip

CORPUS = Corpus(
    parse=parse,
    counts={
        "emotion": dict(zip(EMOTIONS.values(), _EMOTION_COUNTS, strict=True)),
        "speaker": _SPEAKER_COUNTS,
    },
    # audEERING's (audb, emodb).
    folds=({"test": frozenset({"12", "14", "15", "16"})},),
)
