"""Hume-Prosody as the ComParE 2023 Emotion Share task has it (Schuller et al., ACM MM 2023).

Layout: ``wav/`` and ``lab/{train,devel,test}.csv``: the file name, then one column per emotion
with the share of listeners who heard it. Rows and audio are joined by file name, never by order.
The labels of ``test`` are masked, so ``devel`` is what is scored: both have the role test, and the
masked utterances no shares. They are predicted and not scored.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from pipeline.corpora.entries import Corpus, Entry, OutOfScope, Reject, Row, stem
from pipeline.corpora.folder import audio_files, by_stem, joined, text_file
from pipeline.corpora.tables import Line, read
from pipeline.ground.errors import PipelineError

ROLES = {"train": "train", "devel": "test", "test": "test"}
MASKED = ("", "?", "nan")


def parse(folder: Path) -> Iterator[Entry]:
    """Yield an entry per labelled row, and one per audio file that no row names."""
    found = list(audio_files(folder))
    yield from (one for one in found if isinstance(one, Reject))
    lines: dict[str, list[tuple[Line, str]]] = defaultdict(list)
    for part, role in ROLES.items():
        for line in read(text_file(folder, f"lab/{part}.csv"), ()):
            lines[stem(next(iter(line.cells.values())))].append((line, role))
    for label, source in joined(lines, by_stem(one for one in found if isinstance(one, str))):
        yield _entry(*label, source) if label else OutOfScope(source or "", "in no file under lab")


def _entry(line: Line, role: str, source: str | None) -> Entry:
    file, *names = line.cells
    if source is None:
        told = f"{line.where} names a file that is not there"
        return Reject(f"wav/{line.cells[file]}", "missing", told, line.where)
    speaker = next((line.cells[n] for n in names if n.lower().startswith("speaker")), "")
    emotions = [name for name in names if not name.lower().startswith("speaker")]
    masked = role == "test" and all(line.cells[name].lower() in MASKED for name in emotions)
    return Row(
        source=source,
        utterance=stem(source),
        speaker=speaker,
        gender="unknown",
        session=speaker,
        emotion="",
        role=role,
        shares={} if masked else {name.lower(): _share(line, name) for name in emotions},
        label=line.where,
    )


def _share(line: Line, name: str) -> float:
    value = line.number(name, 0, 1)
    if value is None:
        raise PipelineError(
            f"{line.where}: {name} is empty, only whole rows of devel and test may be, fill it in"
        )
    return value


# Of the role test 9,925 are devel, 10,143 masked.
CORPUS = Corpus(parse=parse, counts={"role": {"train": 31_745, "test": 9_925 + 10_143}})
