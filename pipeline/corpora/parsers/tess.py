"""TESS, the Toronto Emotional Speech Set (Pichora-Fuller and Dupuis, 2020).

Layout: ``{OAF,YAF}_word_emotion.wav``, an older and a younger woman. The file name is parsed,
whatever the folders are called; mirrors nest a second copy of everything.
"""

import re

from pipeline.corpora.entries import Corpus, Entry, OutOfScope, Row, lookup, stem
from pipeline.corpora.folder import by_name

# ps is pleasant surprise.
EMOTIONS = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "surprise",
    "sad": "sad",
}
_SPELLINGS = {"pleasant_surprise": "ps", "pleasant_surprised": "ps"}
# Mirrors hold one file of the older woman as OA.
SPEAKERS = {"OAF": "OAF", "OA": "OAF", "YAF": "YAF"}
_NAME = re.compile(r"([A-Z]{2,3})_([A-Za-z]+)_([A-Za-z_]+)")


def parse_source(source: str) -> Entry:
    """The entry of one file."""
    match = _NAME.fullmatch(stem(source))
    if not match or match[1] not in SPEAKERS:
        return OutOfScope(source, "not named as in TESS")
    speaker, word, emotion = SPEAKERS[match[1]], match[2], match[3].lower()
    code = _SPELLINGS.get(emotion, emotion)
    return Row(
        source=source,
        utterance=f"{speaker}_{word}_{code}",
        speaker=speaker,
        gender="female",
        session=speaker,
        emotion=lookup(EMOTIONS, code, source, "emotion"),
    )


CORPUS = Corpus(
    parse=by_name(parse_source),
    counts={
        "emotion": dict.fromkeys(EMOTIONS.values(), 400),
        "speaker": {"OAF": 1400, "YAF": 1400},
    },
)
