"""CREMA-D, the Crowd-sourced Emotional Multimodal Actors Dataset (Cao et al., IEEE TAC 5(4), 2014).

Layout: ``AudioWAV/AAAA_SSS_EMO_LV.wav``: actor, sentence, intended emotion, level; the actors'
genders are in ``VideoDemographics.csv``, without which they stay unknown. Emotions are the
intended ones. What raters heard in the voice alone becomes votes, from
``processedResults/tabulatedVotes.csv``, else from ``finishedResponses.csv``, where one of them is
there.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline.corpora.entries import Corpus, Entry, OutOfScope, Row, lookup, stem
from pipeline.corpora.folder import by_name, text_files
from pipeline.corpora.tables import GENDERS, Line, read

EMOTIONS = {
    "ANG": "angry",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
# Old copies hold one file whose level is a single X.
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "", "X": ""}
DEMOGRAPHICS = "VideoDemographics.csv"
VOTED = {name[0]: emotion for name, emotion in EMOTIONS.items()}
TABULATED, RESPONSES = "tabulatedVotes.csv", "finishedResponses.csv"
VOICE = "1"  # of queryType; 2 is the face, 3 both
REPEATED = {"137526", "312184"}  # rows of finishedResponses.csv that its README calls duplicates
Votes = dict[str, dict[str, float]]
_NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{1,2})")


def parse(folder: Path) -> Iterator[Entry]:
    """Yield the entry of each audio file."""
    genders, votes = _genders(folder), _votes(folder)
    yield from by_name(lambda source: parse_source(source, genders, votes))(folder)


def parse_source(source: str, genders: dict[str, str], votes: Votes) -> Entry:
    """The entry of one file, with the actors' genders and each file's votes."""
    name = stem(source)
    match = _NAME.fullmatch(name)
    if not match:
        return OutOfScope(source, "not named as in CREMA-D")
    if "AudioMP3" in PurePosixPath(source).parts:
        return OutOfScope(source, "an MP3 twin of the WAV file")
    actor, _, emotion, level = match.groups()
    return Row(
        source=source,
        utterance=name,
        speaker=actor,
        gender=genders.get(actor, "unknown"),
        session=actor,
        emotion=lookup(EMOTIONS, emotion, source, "emotion"),
        intensity=lookup(LEVELS, level, source, "level"),
        votes=votes.get(name, {}),
    )


def _genders(folder: Path) -> dict[str, str]:
    for path in text_files(folder, DEMOGRAPHICS):
        lines = read(path, ("ActorID", "Sex"))
        return {line.cells["ActorID"]: line.choice("Sex", GENDERS) for line in lines}
    return {}


def _votes(folder: Path) -> Votes:
    """How many raters of the voice chose each emotion, by file name without suffix."""
    for path in text_files(folder, TABULATED):
        return {
            line.cells["fileName"]: _counted(line)
            for line in read(path, ("fileName", *VOTED))
            if line.cells.get("", "").strip('"')[:1] == VOICE
        }
    found: Votes = {}
    for path in text_files(folder, RESPONSES):
        for line in read(path, ("queryType", "clipName", "respEmo")):
            cells = line.cells
            if cells["queryType"] == VOICE and cells.get("", "") not in REPEATED:
                emotion = lookup(VOTED, cells["respEmo"], line.where, "emotion")
                heard = found.setdefault(stem(cells["clipName"]), {})
                heard[emotion] = heard.get(emotion, 0) + 1
    return found


def _counted(line: Line) -> dict[str, float]:
    given = {emotion: line.number(code, 0, 1000) for code, emotion in VOTED.items()}
    return {emotion: count for emotion, count in given.items() if count}


_FEWER = {"1002": 81, "1076": 81, "1008": 76, "1009": 76, "1019": 76}

CORPUS = Corpus(
    parse=parse,
    counts={
        "emotion": {name: 1087 if name == "neutral" else 1271 for name in EMOTIONS.values()},
        "speaker": {str(actor): _FEWER.get(str(actor), 82) for actor in range(1001, 1092)},
    },
)
