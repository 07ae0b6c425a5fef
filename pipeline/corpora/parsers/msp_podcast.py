"""MSP-Podcast, releases 1.6 to 2.0 (Lotfian and Busso, IEEE TAC 10(4), 2019).

Layout: ``Audios/``, and anywhere ``labels_consensus.csv`` (``concensus`` up to 1.9; the same as
JSON), a row per file with the class that most raters chose, and optionally ``labels_detailed.csv``,
a row per rater, ``Partitions.txt`` and ``Speaker_ids.txt``. Folders of previous releases are passed
over. The labels of Test3 are withheld: its files have neither emotion nor ratings, and their role
is ``unlabelled`` (``ser label`` predicts them). Raters' primary choices are votes and shares,
what else they heard second votes, as listed, and the means of EmoAct, EmoVal and EmoDom dimensions
from 1 to 7.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.corpora.entries import (
    UNLABELLED,
    Corpus,
    Entry,
    OutOfScope,
    Reject,
    Row,
    lookup,
    stem,
)
from pipeline.corpora.folder import audio_files, by_stem, joined, text_files
from pipeline.corpora.tables import GENDERS, Line, read
from pipeline.ground.errors import PipelineError

EMOTIONS = {
    "A": "angry",
    "S": "sad",
    "H": "happy",
    "U": "surprise",
    "F": "fear",
    "D": "disgust",
    "C": "contempt",
    "N": "neutral",
    "O": "other",
}
NO_AGREEMENT = "X"
# What raters choose, too; whatever else they write is another emotion.
PRIMARY = [emotion for emotion in EMOTIONS.values() if emotion != "other"]
WITHHELD = "test3"
ROLES = {"train": "train", "development": "dev", "validation": "dev"}
ROLES |= {"test1": "test", "test2": "test", WITHHELD: "test"}
# What else they choose from as secondary emotions (Lotfian and Busso, section 4.2).
SECONDARY = [*PRIMARY, "amused", "annoyed", "concerned", "confused", "depressed", "disappointed"]
SECONDARY += ["excited", "frustrated"]
MISSPELT = {"dissapointed": "disappointed"}
_ATTRIBUTE = re.compile(r"[AVD]:.*")
_NAME = re.compile(r"MSP-PODCAST_(\d+)_\w+")

DIMENSIONS = {"EmoAct": "arousal", "EmoVal": "valence", "EmoDom": "dominance"}
RANGE = (1.0, 7.0)

Votes = Mapping[str, float]
Heard = tuple[str, Votes, Votes]  # where the first rating stands, primary and secondary choices


def parse(folder: Path) -> Iterator[Entry]:
    """Yield an entry per labelled, listed or rated file, and per other file of audio."""
    clips = []
    for found in audio_files(folder):
        if isinstance(found, Reject):
            yield found
        elif _NAME.fullmatch(stem(found)):
            clips.append(found)
        else:
            yield OutOfScope(found, "not named as in MSP-Podcast")
    votes = _votes(folder)
    for line, source in joined(_lines(folder, votes), by_stem(clips)):
        yield _entry(line, source, votes) if line else OutOfScope(source or "", "in no label file")


def _entry(line: Line, source: str | None, votes: Mapping[str, Heard]) -> Entry:
    cells, where = line.cells, line.where
    name = stem(cells["FileName"])
    if source is None:
        told = f"{where} names a file that is not there"
        return Reject(f"Audios/{cells['FileName']}", "missing", told, where)
    code, part = cells.get("EmoClass", ""), cells.get("Split_Set", "").lower()
    none: Heard = ("", {}, {})
    _, heard, second = none if part == WITHHELD else votes.get(name, none)
    means = {} if part == WITHHELD else _dimensions(line)
    if part != WITHHELD and not code:
        return Reject(source, "unlabelled", f"{where} gives it no class", where)
    if code == NO_AGREEMENT and not (heard or means):
        return OutOfScope(source, "no emotion that most raters agree on (X)", where)
    role = lookup(ROLES, part, where, "split") if part else ""
    match = _NAME.fullmatch(name)
    return Row(
        source=source,
        utterance=name,
        speaker=cells.get("SpkrID", ""),
        gender=line.choice("Gender", GENDERS),
        session=match[1] if match else "",
        emotion="" if code in ("", NO_AGREEMENT) else lookup(EMOTIONS, code, where, "emotion"),
        role=UNLABELLED if part == WITHHELD and not code else role,
        shares={e: heard[e] / sum(heard.values()) for e in PRIMARY} if heard else {},
        votes=heard,
        votes2=second,
        dimensions=means,
        label=where,
    )


def _dimensions(line: Line) -> dict[str, float]:
    given = {name: line.number(column, *RANGE) for column, name in DIMENSIONS.items()}
    return {name: value for name, value in given.items() if value is not None}


def _lines(folder: Path, votes: Mapping[str, Heard]) -> dict[str, list[Line]]:
    """What is said of each file, by the consensus, else by the partitions, else by raters alone."""
    parts, speakers, genders = _partitions(folder), *_speakers(folder)
    lines: dict[str, list[Line]] = defaultdict(list)
    for line in _consensus(folder):
        lines[stem(line.cells["FileName"])].append(line)
    for name, line in parts.items():
        lines.setdefault(name, [line])
    for name, (where, *_) in votes.items():
        lines.setdefault(name, [Line(where, {"FileName": f"{name}.wav"})])
    for name, held in lines.items():
        speaker = speakers.get(name, "")
        known = {"SpkrID": speaker, "Gender": genders.get(speaker, "")}
        known |= {"Split_Set": parts[name].cells["Split_Set"] if name in parts else ""}
        lines[name] = [
            replace(one, cells=known | {k: v for k, v in one.cells.items() if v}) for one in held
        ]
    return lines


def _consensus(folder: Path) -> Iterator[Line]:
    tables = _files(folder, "labels_con[cs]ensus.csv")
    for path in tables:
        yield from read(path, ("FileName", "EmoClass"))
    texts = [] if tables else _files(folder, "labels_con[cs]ensus.json")
    for path in texts:
        for name, told in _objects(path).items():
            yield _line(path, name, told)
    if not tables and not texts:
        raise PipelineError(f"{folder}: no labels_consensus.csv, add it (docs/corpora.md)")


def _ratings(folder: Path) -> Iterator[Line]:
    tables = _files(folder, "labels_detailed.csv")
    for path in tables:
        yield from read(path, ())
    for path in () if tables else _files(folder, "labels_detailed.json"):
        for name, workers in _objects(path).items():
            for told in workers.values():
                yield _line(path, name, told)


def _objects(path: Path) -> dict[str, dict[str, Any]]:
    """What JSON says of each file."""
    try:
        found: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8-sig"))
        if all(isinstance(one, dict) for one in found.values()):
            return found
    except (ValueError, AttributeError):
        pass
    raise PipelineError(f"{path}: not JSON of one object per file, mend it")


def _line(path: Path, name: str, told: Mapping[str, Any]) -> Line:
    return Line(f"{path}: {name}", {**{k: str(v) for k, v in told.items()}, "FileName": name})


def _votes(folder: Path) -> dict[str, Heard]:
    """Where a file's first rating stands, and how many raters chose each emotion, and second."""
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    second: dict[str, Counter[str]] = defaultdict(Counter)
    places: dict[str, str] = {}
    for line in _ratings(folder):
        name = stem(line.cells.get("FileName") or line.cells.get("", ""))
        votes[name][_primary(line).lower()] += 1
        second[name].update(_secondary(line))
        places.setdefault(name, line.where)
    return {
        name: (places[name], _with_others(found), dict(sorted(second[name].items())))
        for name, found in votes.items()
    }


def _with_others(found: Counter[str]) -> Votes:
    """The votes for what raters choose from, and those for anything else."""
    known = {emotion: found[emotion] for emotion in PRIMARY}
    return {**known, "other": found.total() - sum(known.values())}


def _primary(line: Line) -> str:
    """What a rater chose: in a column of its own, or the second field of the only one."""
    if "EmoClass_Major" in line.cells:
        return line.cells["EmoClass_Major"]
    fields = line.cells.get("EmoDetail", "").split(";")
    if len(fields) < 2:
        raise PipelineError(
            f"{line.where}: expected EmoClass_Major, or EmoDetail as 'WORKER1; Happy; ', mend it"
        )
    return fields[1].strip()


def _secondary(line: Line) -> set[str]:
    """What else a rater heard: in a column of its own, or the third field where it is no rating."""
    told = line.cells.get("EmoClass_Second")
    if told is None:
        fields = [field.strip() for field in line.cells.get("EmoDetail", "").split(";")][2:3]
        told = "".join(field for field in fields if not _ATTRIBUTE.fullmatch(field))
    names = {name.strip().lower() for name in told.split(",")} - {""}
    names = {MISSPELT.get(name, name) for name in names}
    return {name if name in SECONDARY else "other" for name in names}


def _partitions(folder: Path) -> dict[str, Line]:
    found: dict[str, Line] = {}
    for where, (part, file) in _pairs(folder, "Partition*.txt"):
        found[stem(file)] = Line(where, {"FileName": file, "Split_Set": part})
    return found


def _speakers(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The speaker of each file, and the gender of each speaker."""
    speakers, genders = {}, {}
    for _, (one, other) in _pairs(folder, "Speaker_ids.txt"):
        if one.startswith("Speaker_"):
            genders[one.removeprefix("Speaker_")] = other
        else:
            speakers[stem(one)] = other.removeprefix("Speaker_")
    return speakers, genders


def _pairs(folder: Path, pattern: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the place and the two parts of each line ``a; b`` that is not blank."""
    for path in _files(folder, pattern):
        for number, line in enumerate(path.read_text("utf-8-sig").splitlines(), 1):
            where = f"{path}: line {number}"
            parts = [part.strip() for part in line.strip().rstrip(";").split(";")]
            if len(parts) == 2:
                yield where, (parts[0], parts[1])
            elif line.strip():
                raise PipelineError(f"{where}: expected two parts and a ';' between, mend it")


def _files(folder: Path, pattern: str) -> list[Path]:
    """The text files of this release."""
    found = text_files(folder, pattern)
    return [path for path in found if "previous" not in str(path.relative_to(folder)).casefold()]


CORPUS = Corpus(parse=parse, ranges=dict.fromkeys(DIMENSIONS.values(), RANGE))
