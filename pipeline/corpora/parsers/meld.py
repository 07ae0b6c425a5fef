"""MELD, the Multimodal EmotionLines Dataset (Poria et al., ACL 2019): scenes of Friends.

Layout: ``{train,dev,test}_sent_emo.csv`` anywhere, and ``dia<D>_utt<U>.mp4``, or WAV made of it,
in a folder whose name says the part. Ids repeat across the parts, which share their speakers.
Some clips are cut wrongly, by minutes: `preprocess` finds them by the length that the table says.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from pipeline.corpora.entries import Corpus, Entry, OutOfScope, Reject, Row, lookup, stem
from pipeline.corpora.folder import (
    AUDIO_SUFFIXES,
    MPEG4_SUFFIXES,
    audio_files,
    joined,
    text_files,
)
from pipeline.corpora.tables import Line, read
from pipeline.ground.errors import PipelineError

EMOTIONS = {
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "joy": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprise": "surprise",
}
PARTS = ("train", "dev", "test")
COLUMNS = (
    *("Speaker", "Emotion", "Dialogue_ID", "Utterance_ID"),
    *("Season", "Episode", "StartTime", "EndTime"),
)
GENDERS = dict.fromkeys(("Chandler", "Joey", "Ross"), "male") | dict.fromkeys(
    ("Monica", "Phoebe", "Rachel"), "female"
)
SPELLINGS = {"Dr. Leedbetter": "Dr. Ledbetter", "Phoebe Sr": "Phoebe Sr."}
SEVERAL = ("All", "Both", "The Guys", "Her-Friends")
# The longest utterance is of 41 s; two have an end minutes after their start.
LONGEST_S = 60.0
_NAME = re.compile(r"dia(\d+)_utt(\d+)")
_TIME = re.compile(r"(\d+):(\d+):(\d+)[,.](\d+)")


def parse(folder: Path) -> Iterator[Entry]:
    """Yield an entry per row of the tables, and one per file of audio that no row names."""
    clips: dict[str, list[str]] = defaultdict(list)
    for found in audio_files(folder, (*AUDIO_SUFFIXES, *MPEG4_SUFFIXES)):
        if isinstance(found, Reject):
            yield found
        elif name := _name(found):
            clips[name].append(found)
        else:
            yield OutOfScope(found, "not named as in MELD, or in no folder of a part")
    for name, sources in clips.items():
        clips[name], videos = _heard(sources)
        yield from (OutOfScope(video, "a video whose audio is there, too") for video in videos)
    for label, source in joined(_lines(folder), clips):
        yield _entry(*label, source) if label else OutOfScope(source or "", "in no table")


def _name(source: str) -> str:
    """The utterance that a file is of, by its name and the nearest folder that says a part."""
    match = _NAME.fullmatch(stem(source))
    for parent in PurePosixPath(source).parents if match else ():
        for part in PARTS:
            if match and part in re.split(r"[\W_]+", parent.name.casefold()):
                return f"{part}_{stem(source)}"
    return ""


def _heard(sources: Sequence[str]) -> tuple[list[str], list[str]]:
    """The files of an utterance that are read, and the videos that others were made of."""
    audio = [source for source in sources if not source.lower().endswith(MPEG4_SUFFIXES)]
    return (audio, [s for s in sources if s not in audio]) if audio else (list(sources), [])


def _lines(folder: Path) -> dict[str, list[tuple[Line, str]]]:
    lines: dict[str, list[tuple[Line, str]]] = defaultdict(list)
    for part in PARTS:
        paths = text_files(folder, f"{part}_sent_emo.csv")
        if not paths:
            raise PipelineError(f"{folder}: no {part}_sent_emo.csv, add it (docs/corpora.md)")
        for line in _read(paths):
            cells = line.cells
            name = f"{part}_dia{cells['Dialogue_ID']}_utt{cells['Utterance_ID']}"
            lines[name].append((line, part))
    return lines


def _read(paths: Iterable[Path]) -> Iterator[Line]:
    for path in paths:
        yield from read(path, COLUMNS)


def _entry(line: Line, part: str, source: str | None) -> Entry:
    cells = line.cells
    name = f"{part}_dia{cells['Dialogue_ID']}_utt{cells['Utterance_ID']}"
    if source is None:
        return Reject(name, "missing", f"{line.where}: its audio is not there", line.where)
    length_s = _seconds(line, "EndTime") - _seconds(line, "StartTime")
    if not 0 < length_s <= LONGEST_S:
        told = f"{cells['StartTime']} to {cells['EndTime']} by its label"
        return Reject(source, "miscut", told, line.where)
    speaker = _speaker(cells["Speaker"])
    return Row(
        source=source,
        utterance=name,
        speaker=speaker,
        gender=GENDERS.get(speaker, "unknown"),
        session=f"s{cells['Season'].zfill(2)}e{cells['Episode'].zfill(2)}",
        emotion=lookup(EMOTIONS, cells["Emotion"].lower(), line.where, "emotion"),
        role=part,
        length_s=length_s,
        label=line.where,
    )


def _seconds(line: Line, column: str) -> float:
    match = _TIME.fullmatch(line.cells[column])
    if not match:
        raise PipelineError(
            f"{line.where}: {column} must be like 00:16:16,059, got {line.cells[column]!r}, mend it"
        )
    hours, minutes, seconds, fraction = match.groups()
    return 3600 * int(hours) + 60 * int(minutes) + float(f"{seconds}.{fraction}")


def _speaker(name: str) -> str:
    """Who speaks: no one in particular where several do; of a role within a role, the first."""
    if name in SEVERAL or " and " in name:
        return ""
    first = name.split("/", maxsplit=1)[0]
    return SPELLINGS.get(first, first)


# Counted in the tables that its authors publish.
_EMOTION_COUNTS = (1_607, 361, 358, 2_308, 6_436, 1_002, 1_636)

CORPUS = Corpus(
    parse=parse,
    counts={
        "emotion": dict(zip(EMOTIONS.values(), _EMOTION_COUNTS, strict=True)),
        "role": {"train": 9_989, "dev": 1_109, "test": 2_610},
    },
    shared=True,
)
