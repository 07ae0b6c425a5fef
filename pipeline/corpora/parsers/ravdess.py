"""RAVDESS, the speech audio (Livingstone and Russo, PLoS ONE 13(5), 2018).

Layout: ``Actor_NN/MM-CC-EE-II-SS-RR-AA.wav``: modality, vocal channel, emotion, intensity,
statement, repetition, actor. Video twins repeat the audio and songs are another corpus: both are
out of scope. The file name is parsed, whatever the folders are called.
"""

import re

from pipeline.corpora.entries import Corpus, Entry, OutOfScope, Row, lookup, stem
from pipeline.corpora.folder import by_name

EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
INTENSITIES = {"01": "normal", "02": "strong"}
AUDIO_ONLY, SPEECH = "03", "01"
_NAME = re.compile(r"(\d\d)-(\d\d)-(\d\d)-(\d\d)-\d\d-\d\d-(\d\d)")


def parse_source(source: str) -> Entry:
    """The entry of one file."""
    name = stem(source)
    match = _NAME.fullmatch(name)
    if not match:
        return OutOfScope(source, "not named as in RAVDESS")
    modality, channel, emotion, intensity, actor = match.groups()
    if modality != AUDIO_ONLY:
        return OutOfScope(source, "the audio of a video")
    if channel != SPEECH:
        return OutOfScope(source, "song")
    return Row(
        source=source,
        utterance=name,
        speaker=actor,
        gender="male" if int(actor) % 2 else "female",
        session=actor,
        emotion=lookup(EMOTIONS, emotion, source, "emotion"),
        intensity=lookup(INTENSITIES, intensity, source, "intensity"),
    )


_EMOBOX_TESTS = (
    ("01", "11", "20", "21"),
    ("04", "10", "12", "14"),
    ("08", "09", "19", "23"),
    ("03", "05", "07", "24"),
    ("02", "15", "16", "18"),
    ("06", "13", "17", "22"),
)

CORPUS = Corpus(
    parse=by_name(parse_source),
    counts={
        "emotion": {name: 96 if name == "neutral" else 192 for name in EMOTIONS.values()},
        "speaker": {f"{actor:02d}": 60 for actor in range(1, 25)},
    },
    # Six of EmoBox, then audEERING's (audb, ravdess).
    folds=(
        *({"test": frozenset(test)} for test in _EMOBOX_TESTS),
        {
            "dev": frozenset({"16", "17", "19", "20"}),
            "test": frozenset({"21", "22", "23", "24"}),
        },
    ),
)
