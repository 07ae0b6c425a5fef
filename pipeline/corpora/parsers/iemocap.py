"""IEMOCAP (Busso et al., Language Resources and Evaluation 42, 2008).

Layout: ``SessionK/dialog/EmoEvaluation/<dialog>.txt`` has a line per utterance with the emotion
that most raters heard; audio at ``SessionK/sentences/wav/<dialog>/<utterance>.wav``. The speaking
actor is the first letter of the utterance id's last token: the dialog's own letter names whoever
wore the markers, and is another one for half of the utterances.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.corpora.entries import (
    Corpus,
    Entry,
    OutOfScope,
    Reject,
    Row,
    audio_files,
    lookup,
    stem,
)
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
_LINE = re.compile(r"\[\d+\.\d+ - \d+\.\d+\]\t(\S+)\t(\w+)\t\[")
_ID = re.compile(r"Ses(\d\d)[FM]_.*_([FM])\d+")


def parse(folder: Path) -> Iterator[Entry]:
    """Yield an entry per rated utterance, and one per audio file that no rating names."""
    sources: dict[str, str] = {}
    for found in audio_files(folder):
        if isinstance(found, Reject):
            yield found
        elif "sentences" in Path(found).parts:
            sources[stem(found)] = found
        else:
            yield OutOfScope(found, "not a sentence (a whole dialog)")
    for path in sorted(folder.rglob("EmoEvaluation/Ses*.txt")):
        where = path.relative_to(folder).as_posix()
        for match in map(_LINE.match, path.read_text("utf-8").splitlines()):
            if match:
                yield _entry(where, match[1], match[2], sources.pop(match[1], None))
    for source in sources.values():
        yield OutOfScope(source, "not in EmoEvaluation")


def _entry(where: str, name: str, code: str, source: str | None) -> Entry:
    parts = _ID.fullmatch(name)
    if not parts:
        raise PipelineError(f"{where}: {name!r} is no id such as Ses01F_impro01_M003, mend it")
    if source is None:
        return Reject(f"{where}:{name}", "missing", f"{name} is rated but its audio is not there")
    if code == NO_AGREEMENT:
        return OutOfScope(source, "no emotion that most raters agree on (xxx)")
    session, letter = parts.groups()
    return Row(
        source=source,
        utterance=name,
        speaker=f"Ses{session}{letter}",
        gender=GENDERS[letter],
        session=str(int(session)),
        emotion=lookup(EMOTIONS, code, f"{where}: {name}", "emotion"),
    )


CORPUS = Corpus(
    parse=parse,
    # Of the five emotions that the literature evaluates.
    counts={
        "emotion": {"neutral": 1708, "angry": 1103, "sad": 1084, "happy": 595, "excited": 1041}
    },
)
