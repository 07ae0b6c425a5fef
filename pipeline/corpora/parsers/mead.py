"""MEAD, the Multi-view Emotional Audio-visual Dataset (Wang et al., ECCV 2020).

Layout: ``{M,W}NNN/audio/emotion/level_L/NNN.m4a``, or what was made of it: actor, emotion,
intensity, number. Names repeat in each folder, so that the path is parsed. Videos are passed over.
"""

import re

from pipeline.corpora.entries import Corpus, Entry, OutOfScope, Row, lookup, stem
from pipeline.corpora.folder import AUDIO_SUFFIXES, by_name

EMOTIONS = {
    "angry": "angry",
    "contempt": "contempt",
    "disgusted": "disgust",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "sad": "sad",
    "surprised": "surprise",
}
GENDERS = {"M": "male", "W": "female"}
_PATH = re.compile(r"(?:.*/)?([MW])(\d{3})/audio/(\w+)/level_(\d)/[^/]+")


def parse_source(source: str) -> Entry:
    """The entry of one file."""
    match, number = _PATH.fullmatch(source), stem(source)
    if not match or not number.isdecimal():
        return OutOfScope(source, "not in a folder as in MEAD")
    letter, actor, emotion, level = match.groups()
    return Row(
        source=source,
        utterance=f"{letter}{actor}_{emotion}_level_{level}_{number}",
        speaker=f"{letter}{actor}",
        gender=GENDERS[letter],
        session=f"{letter}{actor}",
        emotion=lookup(EMOTIONS, emotion, source, "emotion"),
        intensity=level,
    )


CORPUS = Corpus(parse=by_name(parse_source, (*AUDIO_SUFFIXES, ".m4a")))
