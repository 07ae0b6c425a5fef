"""The clips of a whole corpus, on all cores or by a cluster.

`preprocess` runs `prepare_all` and makes the manifest of what it yields. Finished utterances lie in
the scratch store, keyed by the content of their source, so that a file added to a corpus, or a
killed run, costs only what is new.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pipeline.audio.containers import needs_its_path
from pipeline.audio.recording import Recording, RejectedError
from pipeline.corpora.entries import Row
from pipeline.corpora.prepared import Prepared, pack, unpack
from pipeline.corpora.preparing import clips
from pipeline.corpora.preparing.utterance import Settings, make
from pipeline.ground import files
from pipeline.work import pool
from pipeline.work.cluster import remote
from pipeline.work.cluster.worker import Task
from pipeline.work.store import Store

_PART = 4  # rows sent to a worker at a time: a row alone takes hardly longer than the sending


@dataclass(frozen=True)
class Places:
    """Where sources come from, where clips go, and the scratch folder of finished ones."""

    raw: Path
    clips: Path
    scratch: Path


def prepare_all(
    rows: Sequence[Row], settings: Settings, places: Places, workers: int, engine: str = "processes"
) -> Iterator[Prepared]:
    """Write the clips of each row and yield what became of it, in order.

    ``workers`` processes do the work, this one where it is 0 or 1; or those of a cluster where the
    ``engine`` is ray.

    Raises:
        PipelineError: A worker was killed from outside, or a source changed meanwhile; also as
            `remote.spread`.
    """
    states = _states(rows, places.raw)
    worker = _Worker(settings, places)
    if engine == "ray":
        yield from worker.spread(rows)
    else:
        parts = [rows[start : start + _PART] for start in range(0, len(rows), _PART)]
        for made in pool.forked(worker.prepare_part, parts, workers):
            yield from made
    # The clips are of what was read; whoever looks at the corpus now would not know it.
    for path, before in states.items():
        if files.state(path) != before:
            raise files.changed(path)


def _states(rows: Sequence[Row], raw: Path) -> dict[Path, tuple[int, ...]]:
    paths = (raw / source for source in {row.source for row in rows})
    return {path: files.state(path) for path in paths}


# A row, where its source lies, and what that holds.
_Sent = tuple[Row, Path, bytes]


class _Known(NamedTuple):
    """Under which key the store has an utterance, and what it has, empty where nothing."""

    key: str
    stored: bytes


class _Worker:
    """One process's share of the work: it decodes what its store does not hold."""

    def __init__(self, settings: Settings, places: Places) -> None:
        self._settings = settings
        self._places = places
        self._store = Store(places.scratch)
        self._folders: set[Path] = set()
        self._open: Recording | None = None
        self._held: tuple[Path, bytes] = (Path(), b"")

    def prepare_part(self, rows: Sequence[Row]) -> list[Prepared]:
        return [self._prepare(row) for row in rows]

    def spread(self, rows: Sequence[Row]) -> Iterator[Prepared]:
        """As `prepare_part`, but decoded by a cluster; here sources are read and clips written."""
        parts, settled = _by_source(rows), dict[int, list[Prepared | _Known]]()

        def send(number: int) -> list[_Sent]:
            settled[number], sent = [], list[_Sent]()
            for row in parts[number]:
                known = self._known(row)
                settled[number].append(known)
                if isinstance(known, _Known) and not known.stored:
                    sent.append((row, *self._content(row)))
            return sent

        task = Task(_decoder, (self._settings,))
        for number, answer in enumerate(remote.spread(task, range(len(parts)), send)):
            made = iter(answer)
            for row, known in zip(parts[number], settled.pop(number), strict=True):
                if isinstance(known, Prepared):
                    yield known
                    continue
                stored = known.stored or self._keep(known.key, next(made))
                yield self._write(row, stored)

    def _prepare(self, row: Row) -> Prepared:
        known = self._known(row, decoded=True)
        return known if isinstance(known, Prepared) else self._write(row, known.stored)

    def _known(self, row: Row, decoded: bool = False) -> "Prepared | _Known":
        """What the store has of a row, or gets of it if ``decoded``; or why it cannot be opened."""
        try:
            recording = self._recording(self._places.raw / row.source)
        except RejectedError as error:
            return Prepared(row, code=error.code, detail=error.detail)
        part = [row.start_s, row.end_s, row.length_s]
        key = files.digest([recording.sha256, row.utterance, *part])
        stored = self._store.get(key)
        if stored is None and (decoded or needs_its_path(recording)):
            stored = pack(*make(self._settings, recording, row))
            recording.require_unchanged()
            self._keep(key, stored)
        return _Known(key, stored or b"")

    def _content(self, row: Row) -> tuple[Path, bytes]:
        """A row's source, the same object for rows that follow each other: it is sent once."""
        recording = self._recording(self._places.raw / row.source)
        if self._held[0] != recording.path:
            self._held = recording.path, recording.read(0, recording.size)
            recording.require_unchanged()
        return self._held

    def _keep(self, key: str, stored: bytes) -> bytes:
        self._store.put(key, stored)
        return stored

    def _write(self, row: Row, stored: bytes) -> Prepared:
        """Write the clips of an utterance that is finished."""
        made, flacs = unpack(row, stored)
        start = 0
        for segment in made.segments:
            target = self._places.clips / clips.path_of(row.utterance + segment.suffix)
            self._make_folder(target.parent)
            target.write_bytes(flacs[start : start + segment.size_bytes])
            start += segment.size_bytes
        return made

    def _recording(self, path: Path) -> Recording:
        """The source, read and hashed once for rows of one file that follow each other."""
        if self._open is None or self._open.path != path:
            self._open = Recording(path)
        return self._open

    def _make_folder(self, folder: Path) -> None:
        if folder not in self._folders:
            folder.mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)


def _by_source(rows: Sequence[Row]) -> list[list[Row]]:
    """Parts of a few rows; those of one source that follow each other stay together."""
    parts: list[list[Row]] = []
    for row in rows:
        if parts and (len(parts[-1]) < _PART or parts[-1][-1].source == row.source):
            parts[-1].append(row)
        else:
            parts.append([row])
    return parts


def _decoder(settings: Settings) -> Callable[[Sequence[_Sent]], list[bytes]]:
    """What makes of rows what the store keeps of them, on a worker of a cluster."""

    def decode(rows: Sequence[_Sent]) -> list[bytes]:
        recording: Recording | None = None
        made = []
        for row, path, content in rows:
            if recording is None or recording.path != path:
                recording = Recording(path, content)
            made.append(pack(*make(settings, recording, row)))
        return made

    return decode
