"""Hume-Prosody as the ComParE 2023 Emotion Share task has it (Schuller et al., ACM MM 2023).

Layout: ``wav/`` and ``lab/{train,devel,test}.csv``: the file name, then one column per emotion
with the share of listeners who heard it. The test labels are masked, so ``devel`` is what is
scored and its role is test. Rows and audio are joined by file name, never by order.
"""

from collections.abc import Iterator
from pathlib import Path

from pipeline.corpora.base import Corpus, Entry, OutOfScope, Reject, Row, audio_files, stem
from pipeline.tables import number, read

ROLES = {"train": "train", "devel": "test", "test": "masked"}
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
    if any(cells[name].lower() in MASKED for name in names) or not names:
        return OutOfScope(source, "its label is masked")
    speaker = next((cells[name] for name in cells if name.lower().startswith("speaker")), "")
    return Row(
        source=source,
        utterance=stem(source),
        speaker=speaker,
        gender="unknown",
        session=speaker,
        emotion="",
        role=role,
        shares={name.lower(): number(where, cells, name, 0, 1) or 0.0 for name in names},
    )


CORPUS = Corpus(parse=parse, counts={"role": {"train": 31_745, "test": 9_925}})
