"""SAVEE, Surrey Audio-Visual Expressed Emotion (Haq and Jackson, AVSP 2009); four men.

Layout: ``AudioData/DC/sa01.wav``, or in mirrors ``ALL/DC_sa01.wav``: speaker, emotion, number.
"""

import re
from pathlib import PurePosixPath

from pipeline.corpora.entries import Corpus, Entry, OutOfScope, Row, lookup, stem
from pipeline.corpora.folder import by_name

EMOTIONS = {
    "a": "angry",
    "d": "disgust",
    "f": "fear",
    "h": "happy",
    "n": "neutral",
    "sa": "sad",
    "su": "surprise",
}
SPEAKERS = ("DC", "JE", "JK", "KL")
_NAME = re.compile(r"(?:([A-Z]{2})_)?([a-z]{1,2})(\d\d)")


def parse_source(source: str) -> Entry:
    """The entry of one file."""
    match = _NAME.fullmatch(stem(source))
    speaker = (match and match[1]) or PurePosixPath(source).parent.name
    if not match or speaker not in SPEAKERS:
        return OutOfScope(source, "not named as in SAVEE")
    return Row(
        source=source,
        utterance=f"{speaker}_{match[2]}{match[3]}",
        speaker=speaker,
        gender="male",
        session=speaker,
        emotion=lookup(EMOTIONS, match[2], source, "emotion"),
    )


CORPUS = Corpus(
    parse=by_name(parse_source),
    counts={
        "emotion": {name: 120 if name == "neutral" else 60 for name in EMOTIONS.values()},
        "speaker": dict.fromkeys(SPEAKERS, 120),
    },
    # EmoBox's.
    folds=tuple({"test": frozenset({speaker})} for speaker in ("JE", "KL", "DC", "JK")),
)
