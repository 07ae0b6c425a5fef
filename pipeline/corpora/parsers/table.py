"""Any corpus that its user describes in one CSV file: ``labels.csv`` in the corpus folder.

Columns: ``path`` (of the audio, relative to the folder), ``emotion``, ``speaker``; optional
``gender`` (female, male), ``session``, ``language``, ``intensity``, ``split`` (train, dev, test),
``start`` and ``end`` (seconds, of an utterance within a longer file) and ``share_<emotion>``
(the fraction of listeners, 0 to 1). Other columns are ignored. The demo is such a corpus.
"""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipeline.corpora.entries import Corpus, Entry, OutOfScope, Reject, Row, audio_files
from pipeline.corpora.manifest import SHARE_PREFIX
from pipeline.corpora.tables import number, read
from pipeline.ground.errors import PipelineError

LABELS = "labels.csv"
REQUIRED = ("path", "emotion", "speaker")
_GENDERS = {"": "unknown", "unknown": "unknown", "female": "female", "f": "female"}
_GENDERS |= {"male": "male", "m": "male"}
_ROLES = {"": "", "train": "train", "dev": "dev", "devel": "dev", "test": "test"}


def parse(folder: Path) -> Iterator[Entry]:
    """Yield an entry per row, and one per audio file that no row names.

    Raises:
        PipelineError: A column is missing, or a value is malformed; the line is named.
    """
    found = {unicodedata.normalize("NFC", f): f for f in audio_files(folder) if isinstance(f, str)}
    named = set()
    for line, cells in read(folder / LABELS, REQUIRED):
        where = f"{folder / LABELS}: line {line}"
        source = _source(where, cells["path"])
        on_disk = found.get(unicodedata.normalize("NFC", source), source)
        named.add(on_disk)
        # Path.is_file raises over a name that no file can have.
        exists = os.path.isfile(folder / on_disk)  # noqa: PTH113
        yield _entry(where, on_disk, cells, exists)
    for source in sorted(set(found.values()) - named):
        yield OutOfScope(source, f"not in {LABELS}")


def _source(where: str, path: str) -> str:
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts:
        raise PipelineError(f"{where}: path must lie within the corpus folder, got {path!r}")
    return pure.as_posix()


def _entry(where: str, source: str, cells: dict[str, str], exists: bool) -> Row | Reject:
    shares = _shares(where, cells)
    if not exists:
        return Reject(source, "missing", f"{where} names a file that is not there")
    if not cells["emotion"] and not shares:
        return Reject(source, "unlabelled", f"{where} has no emotion")
    start_s = number(where, cells, "start", 0, 1e6)
    return Row(
        source=source,
        utterance=_utterance(source, start_s),
        speaker=cells["speaker"],
        gender=_choice(where, cells, "gender", _GENDERS),
        session=cells.get("session") or cells["speaker"],
        emotion=cells["emotion"].lower(),
        intensity=cells.get("intensity", ""),
        language=cells.get("language", ""),
        start_s=start_s or 0.0,
        end_s=number(where, cells, "end", 0, 1e6),
        role=_choice(where, cells, "split", _ROLES),
        shares=shares,
    )


def _utterance(source: str, start_s: float | None) -> str:
    name = unicodedata.normalize("NFC", str(PurePosixPath(source).with_suffix("")))
    return name if start_s is None else f"{name}@{start_s:g}"


def _choice(where: str, cells: dict[str, str], name: str, known: dict[str, str]) -> str:
    value = cells.get(name, "").lower()
    if value not in known:
        names = ", ".join(sorted(filter(None, known)))
        raise PipelineError(f"{where}: {name} must be one of {names}, got {value!r}")
    return known[value]


def _shares(where: str, cells: dict[str, str]) -> dict[str, float]:
    names = [name for name in cells if name.startswith(SHARE_PREFIX)]
    given = {name: number(where, cells, name, 0, 1) for name in names}
    return {n.removeprefix(SHARE_PREFIX): value for n, value in given.items() if value is not None}


CORPUS = Corpus(parse=parse)
