"""IEMOCAP (Busso et al., Language Resources and Evaluation 42, 2008).

Layout: ``SessionK/dialog/EmoEvaluation/<dialog>.txt`` has a line per utterance with the emotion
that most raters heard and the means of their ratings of valence, activation (here arousal) and
dominance, below it what each rater heard; audio at
``SessionK/sentences/wav/<dialog>/<utterance>.wav``. The speaking actor is the first letter of the
utterance id's last token: the dialog's own letter names whoever wore the markers, and is another
one for half of the utterances.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.corpora.entries import Corpus, Entry, OutOfScope, Reject, Row, lookup
from pipeline.corpora.folder import audio_files, by_stem, joined, text_files
from pipeline.ground.errors import PipelineError

EMOTIONS = {
    "neu": "neutral",
    "ang": "angry",
    "sad": "sad",
    "hap": "happy",
    "exc": "excited",
    "fru": "frustrated",
    "sur": "surprise",
    "fea": "fear",
    "dis": "disgust",
    "oth": "other",
}
NO_AGREEMENT = "xxx"
GENDERS = {"F": "female", "M": "male"}
_LINE = re.compile(r"\[\d+\.\d+ - \d+\.\d+\]\t(\S+)\t(\w+)\t\[(?:([\d.]+), ([\d.]+), ([\d.]+)\])?")
# A rater's line, such as C-E2: one or several choices, each before a semicolon. The actors' own
# (C-F1, C-M1) are no raters'.
_VOTE = re.compile(r"C-E\d+:\t([^\t]*)")
VOTED = {"neutral state": "neutral", "neutral": "neutral", "anger": "angry", "sadness": "sad"}
VOTED |= {"happiness": "happy", "excited": "excited", "frustration": "frustrated"}
VOTED |= {name: name for name in ("surprise", "fear", "disgust", "other")}
DIMENSIONS = ("valence", "arousal", "dominance")  # in the order of the line
_ID = re.compile(r"Ses(\d\d)[FM]_.*_([FM])\d+")


class Rating(NamedTuple):
    """What is said of an utterance: the code of its emotion, where, its dimensions and votes."""

    name: str
    code: str
    where: str
    dimensions: dict[str, float]
    votes: dict[str, float]


def parse(folder: Path) -> Iterator[Entry]:
    """Yield an entry per rated utterance, and one per audio file that no rating names."""
    sentences = []
    for found in audio_files(folder):
        if isinstance(found, Reject):
            yield found
        elif "sentences" in Path(found).parts:
            sentences.append(found)
        else:
            yield OutOfScope(found, "not a sentence (a whole dialog)")
    ratings: dict[str, list[Rating]] = defaultdict(list)
    for path in text_files(folder, "EmoEvaluation/Ses*.txt"):
        for rating in _ratings(path, path.relative_to(folder).as_posix()):
            ratings[rating.name].append(rating)
    for label, source in joined(ratings, by_stem(sentences)):
        yield _entry(label, source) if label else OutOfScope(source or "", "not in EmoEvaluation")


def _ratings(path: Path, where: str) -> Iterator[Rating]:
    # Raters' remarks are in several encodings; what is read here is ASCII.
    rating = None
    for number, line in enumerate(path.read_text("utf-8-sig", "replace").split("\n"), 1):
        if match := _LINE.match(line):
            if rating:
                yield rating
            means = [float(value) for value in match.groups()[2:] if value]
            dimensions = dict(zip(DIMENSIONS, means, strict=False))
            rating = Rating(match[1], match[2], f"{where}: line {number}", dimensions, {})
        elif rating and (vote := _VOTE.match(line)):
            for heard in filter(None, map(str.strip, vote[1].casefold().split(";"))):
                emotion = VOTED.get(heard, "other")
                rating.votes[emotion] = rating.votes.get(emotion, 0) + 1
        elif line.startswith("["):
            raise PipelineError(
                f"{where}: line {number}: not [start - end], name, emotion and ratings between "
                f"tabs, got {line[:80]!r}, mend it"
            )
    if rating:
        yield rating


def _entry(rating: Rating, source: str | None) -> Entry:
    name, code, where = rating[:3]
    parts = _ID.fullmatch(name)
    if not parts:
        raise PipelineError(f"{where}: {name!r} is no id such as Ses01F_impro01_M003, mend it")
    if source is None:
        told = f"{name} is rated but its audio is not there"
        return Reject(f"{where}: {name}", "missing", told, where)
    if code == NO_AGREEMENT and not (rating.votes or rating.dimensions):
        return OutOfScope(source, "no emotion that most raters agree on (xxx)", where)
    session, letter = parts.groups()
    return Row(
        source=source,
        utterance=name,
        speaker=f"Ses{session}{letter}",
        gender=GENDERS[letter],
        session=str(int(session)),
        emotion=(
            "" if code == NO_AGREEMENT else lookup(EMOTIONS, code, f"{where}: {name}", "emotion")
        ),
        votes=rating.votes,
        dimensions=rating.dimensions,
        label=where,
    )


CORPUS = Corpus(
    parse=parse,
    ranges=dict.fromkeys(DIMENSIONS, (1, 5)),
    # Of the five emotions that the literature evaluates.
    counts={
        "emotion": {"neutral": 1708, "angry": 1103, "sad": 1084, "happy": 595, "excited": 1041}
    },
)
