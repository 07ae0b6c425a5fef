"""ESD, the Emotional Speech Database (Zhou et al., ICASSP 2021 and Speech Communication 137, 2022).

Layout: ``SSSS/Emotion/SSSS_NNNNNN.wav``, in older archives with ``train``, ``evaluation`` or
``test`` between folder and file: speaker, emotion, number. Speakers 0001 to 0010 speak Mandarin,
0011 to 0020 English. Transcripts come in several encodings and say nothing that the folders don't.
"""

import re
from pathlib import PurePosixPath

from pipeline.corpora.entries import Corpus, Entry, OutOfScope, Row, lookup, stem
from pipeline.corpora.folder import by_name

EMOTIONS = {
    "Neutral": "neutral",
    "Angry": "angry",
    "Happy": "happy",
    "Sad": "sad",
    "Surprise": "surprise",
}
ROLES = {"train": "train", "evaluation": "dev", "test": "test"}
MANDARIN = [f"{speaker:04d}" for speaker in range(1, 11)]
ENGLISH = [f"{speaker:04d}" for speaker in range(11, 21)]
# As the ReadMe of the corpus has them.
WOMEN = ("0001", "0002", "0003", "0007", "0009", "0015", "0016", "0017", "0018", "0019")
_NAME = re.compile(r"(\d{4})_\d{6}")


def parse_source(source: str) -> Entry:
    """The entry of one file."""
    match = _NAME.fullmatch(stem(source))
    if not match or match[1] not in (*MANDARIN, *ENGLISH):
        return OutOfScope(source, "not named as in ESD")
    speaker, folder = match[1], PurePosixPath(source).parent
    role = ROLES.get(folder.name, "")
    emotion = (folder.parent if role else folder).name
    return Row(
        source=source,
        utterance=match[0],
        speaker=speaker,
        gender="female" if speaker in WOMEN else "male",
        session=speaker,
        emotion=lookup(EMOTIONS, emotion, source, "emotion"),
        language="zh" if speaker in MANDARIN else "en",
        role=role,
    )


CORPUS = Corpus(
    parse=by_name(parse_source),
    counts={
        "emotion": dict.fromkeys(EMOTIONS.values(), 7_000),
        "speaker": dict.fromkeys((*MANDARIN, *ENGLISH), 1_750),
    },
    shared=True,
)
