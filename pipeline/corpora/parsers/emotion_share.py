"""Hume-Prosody as the ComParE 2023 Emotion Share task has it (Schuller et al., ACM MM 2023).

Layout: ``wav/`` and ``lab/{train,devel,test}.csv``: the file name, then one column per emotion
with the share of listeners who heard it. Rows and audio are joined by file name, never by order.
The labels of ``test`` are masked, so ``devel`` is what is scored: both have the role test, and the
masked utterances no shares. They are predicted and not scored.
"""

from collections.abc import Iterator
from pathlib import Path

from pipeline.corpora.entries import Corpus, Entry, OutOfScope, Reject, Row, audio_files, stem
from pipeline.corpora.tables import number, read
from pipeline.ground.errors import PipelineError

ROLES = {"train": "train", "devel": "test", "test": "test"}
MASKED = ("", "?", "nan")


def parse(folder: Path) -> Iterator[Entry]:
    """Yield an entry per labelled row, and one per audio file that no row names."""
    sources = {stem(found): found for found in audio_files(folder) if isinstance(found, str)}
    for part, role in ROLES.items():
        path = folder / "lab" / f"{part}.csv"
        for line, cells in read(path, ()):
            where = f"{path}: line {line}"
            file, *_ = cells.values()
            yield _entry(where, file, cells, sources.pop(stem(file), None), role)
    for source in sources.values():
        yield OutOfScope(source, "in no file under lab")


def _entry(where: str, file: str, cells: dict[str, str], source: str | None, role: str) -> Entry:
    if source is None:
        return Reject(f"wav/{file}", "missing", f"{where} names a file that is not there")
    names = [name for name in list(cells)[1:] if not name.lower().startswith("speaker")]
    masked = role == "test" and all(cells[name].lower() in MASKED for name in names)
    speaker = next((cells[name] for name in cells if name.lower().startswith("speaker")), "")
    return Row(
        source=source,
        utterance=stem(source),
        speaker=speaker,
        gender="unknown",
        session=speaker,
        emotion="",
        role=role,
        shares={} if masked else {n.lower(): _share(where, cells, n) for n in names},
    )


def _share(where: str, cells: dict[str, str], name: str) -> float:
    value = number(where, cells, name, 0, 1)
    if value is None:
        raise PipelineError(
            f"{where}: {name} is empty, only whole rows of devel and test may be, fill it in"
        )
    return value


# Of the role test 9,925 are devel, 10,143 masked.
CORPUS = Corpus(parse=parse, counts={"role": {"train": 31_745, "test": 9_925 + 10_143}})
