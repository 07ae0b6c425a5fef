"""EmoDB, the Berlin Database of Emotional Speech (Burkhardt et al., Interspeech 2005).

Layout: ``wav/SSTTTEv.wav``: speaker, text, emotion (initial of the German word), version.
"""

import re

from pipeline.corpora.entries import Corpus, Entry, OutOfScope, Row, lookup, stem
from pipeline.corpora.folder import by_name

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
_NAME = re.compile(r"(\d\d)([a-z]\d\d)([A-Z])([a-z]?)")


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
    parse=by_name(parse_source),
    counts={
        "emotion": dict(zip(EMOTIONS.values(), _EMOTION_COUNTS, strict=True)),
        "speaker": _SPEAKER_COUNTS,
    },
    # audEERING's (audb, emodb).
    folds=({"test": frozenset({"12", "14", "15", "16"})},),
)
