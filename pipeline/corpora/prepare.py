"""From a corpus row to its clips: decode, trim, cut, augment and write FLAC, on all cores.

`preprocess` runs `prepare_all` and makes the manifest of what it yields. Finished utterances lie in
the scratch store, keyed by the content of their source, so that a file added to a corpus, or a
killed run, costs only what is new.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from pipeline.audio import decoding, flac, formats
from pipeline.audio.augmentation import Augmentation, augmented
from pipeline.audio.containers import needs_its_path
from pipeline.audio.formats import SAMPLE_RATE_HZ
from pipeline.audio.recording import Recording, RejectedError
from pipeline.audio.segments import spans, speech_part
from pipeline.corpora.entries import Row
from pipeline.corpora.manifest import Clip
from pipeline.ground import files
from pipeline.work import pool
from pipeline.work.cluster import remote
from pipeline.work.cluster.worker import Task
from pipeline.work.store import Store

SUFFIX = ".flac"
# Of Linux file systems, in bytes: a name, and a path less what the project puts before it.
LONGEST_NAME, LONGEST_PATH = 255, 3_500
MISCUT_S = 1.0  # by which a clip's length may differ from what its label says
_KEPT = 160
_PART = 4  # rows sent to a worker at a time: a row alone takes hardly longer than the sending


@dataclass(frozen=True)
class Settings:
    """How utterances become clips: the part of `preprocess`'s params that their samples obey."""

    max_clip_s: float
    last_clip: str
    max_utterance_s: float
    trim_db: float | None
    augment: tuple[Augmentation, ...]
    seed: int


@dataclass(frozen=True)
class Segment:
    """One clip that was made: its id after the utterance's, and that of its source if augmented.

    ``sha256`` is that of the 16-bit samples, ``size_bytes`` the length of the FLAC file.
    """

    suffix: str
    parent: str | None
    start_s: float
    duration_s: float
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Prepared:
    """What became of a row: its segments, or the code and detail of its rejection."""

    row: Row
    segments: tuple[Segment, ...] = ()
    source: decoding.Source | None = None
    code: str = ""
    detail: str = ""


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


def clips_of(prepared: Prepared, corpus: str, language: str) -> list[Clip]:
    """The rows of the manifest that an utterance makes."""
    return [_clip(prepared.row, segment, corpus, language) for segment in prepared.segments]


def remove(prepared: Prepared, clips: Path) -> None:
    """Take back the clips of an utterance that the audit refused."""
    for segment in prepared.segments:
        (clips / _clip_path(prepared.row.utterance + segment.suffix)).unlink()


def _clip(row: Row, segment: Segment, corpus: str, language: str) -> Clip:
    utterance = f"{corpus}/{row.utterance}"
    return Clip(
        clip=utterance + segment.suffix,
        utterance=utterance,
        corpus=corpus,
        path=_clip_path(row.utterance + segment.suffix),
        source=row.source,
        speaker=f"{corpus}/{row.speaker}" if row.speaker else "",
        gender=row.gender,
        session=row.session,
        emotion=row.emotion,
        intensity=row.intensity,
        language=row.language or language,
        duration_s=segment.duration_s,
        start_s=segment.start_s,
        augmented_from="" if segment.parent is None else utterance + segment.parent,
        sha256=segment.sha256,
        shares=dict(row.shares),
        votes=dict(row.votes),
        votes2=dict(row.votes2),
        dimensions=dict(row.dimensions),
    )


def _clip_path(name: str) -> str:
    """A clip's path beside the manifest: its name with unusual characters percent-encoded.

    A part that is too long for a file system keeps its beginning and gets a hash; of a path that is
    too long nothing is left but the hash.
    """
    quoted = quote(name, safe="/ #~@+=,()'")
    parts = [f"%2E{part[1:]}" if part.startswith(".") else part for part in quoted.split("/")]
    path = "/".join(["audio", *map(_short, parts[:-1]), _short(parts[-1], len(SUFFIX))]) + SUFFIX
    return path if len(path) <= LONGEST_PATH else f"audio/{files.digest(name)}{SUFFIX}"


def _short(part: str, reserved: int = 0) -> str:
    if len(part) + reserved <= LONGEST_NAME:
        return part
    kept = re.sub("%.?$", "", part[:_KEPT])
    return f"{kept}~{files.digest(part)}"


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

        def pack(number: int) -> list[_Sent]:
            settled[number], sent = [], list[_Sent]()
            for row in parts[number]:
                known = self._known(row)
                settled[number].append(known)
                if isinstance(known, _Known) and not known.stored:
                    sent.append((row, *self._content(row)))
            return sent

        task = Task(_decoder, (self._settings,))
        for number, answer in enumerate(remote.spread(task, range(len(parts)), pack)):
            made = iter(answer)
            for row, known in zip(parts[number], settled.pop(number), strict=True):
                if isinstance(known, Prepared):
                    yield known
                    continue
                stored = known.stored or self._keep(known.key, next(made))
                yield self._write(row, stored)

    def _prepare(self, row: Row) -> Prepared:
        known = self._known(row, make=True)
        return known if isinstance(known, Prepared) else self._write(row, known.stored)

    def _known(self, row: Row, make: bool = False) -> "Prepared | _Known":
        """What the store has of a row, or ``make`` it; or why its source cannot be opened."""
        try:
            recording = self._recording(self._places.raw / row.source)
        except RejectedError as error:
            return Prepared(row, code=error.code, detail=error.detail)
        part = [row.start_s, row.end_s, row.length_s]
        key = files.digest([recording.sha256, row.utterance, *part])
        stored = self._store.get(key)
        if stored is None and (make or needs_its_path(recording)):
            stored = _pack(*_make(self._settings, recording, row))
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
        made, flacs = _unpack(row, stored)
        start = 0
        for segment in made.segments:
            target = self._places.clips / _clip_path(row.utterance + segment.suffix)
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
            made.append(_pack(*_make(settings, recording, row)))
        return made

    return decode


def _pack(prepared: Prepared, flacs: bytes) -> bytes:
    """What the store keeps of an utterance: a line of JSON, then its FLAC files."""
    known = {**vars(prepared), "segments": [vars(segment) for segment in prepared.segments]}
    known |= {"row": None, "source": prepared.source and vars(prepared.source)}
    return json.dumps(known).encode() + b"\n" + flacs


def _unpack(row: Row, stored: bytes) -> tuple[Prepared, bytes]:
    line, _, flacs = stored.partition(b"\n")
    known: dict[str, Any] = json.loads(line)
    segments = tuple(Segment(**segment) for segment in known["segments"])
    source = decoding.Source(**known["source"]) if known["source"] else None
    return Prepared(row, segments, source, known["code"], known["detail"]), flacs


def _make(settings: Settings, recording: Recording, row: Row) -> tuple[Prepared, bytes]:
    try:
        samples, source = decoding.decode_part(
            recording, row.start_s, row.end_s, settings.max_utterance_s
        )
        _require_length(recording.path, samples, row.length_s)
        decoding.require_speech(recording.path, samples)
    except RejectedError as error:
        return Prepared(row, code=error.code, detail=error.detail), b""
    start, stop = speech_part(samples, settings.trim_db)
    segments, encodings = [], []
    for suffix, parent, begin, part in _parts(settings, row.utterance, samples[start:stop]):
        start_s = round(row.start_s + (start + begin) / SAMPLE_RATE_HZ, 6)
        encoded, checksum = flac.encode_flac(part)
        duration_s = len(part) / SAMPLE_RATE_HZ
        segments.append(Segment(suffix, parent, start_s, duration_s, checksum, len(encoded)))
        encodings.append(encoded)
    return Prepared(row, tuple(segments), source), b"".join(encodings)


def _require_length(path: Path, samples: formats.Samples, told_s: float | None) -> None:
    """Check that a clip was cut as its authors say."""
    held_s = len(samples) / SAMPLE_RATE_HZ
    if told_s is not None and abs(held_s - told_s) > MISCUT_S:
        detail = f"{held_s:.1f} s, but {told_s:.1f} s by its label"
        raise RejectedError(path, "miscut", detail)


def _parts(
    settings: Settings, utterance: str, samples: formats.Samples
) -> Iterator[tuple[str, str | None, int, formats.Samples]]:
    """Yield (suffix, parent's suffix, first sample, samples) of each clip and augmented child."""
    limit = round(settings.max_clip_s * SAMPLE_RATE_HZ)
    cuts = spans(len(samples), limit, settings.last_clip)
    for number, (start, stop) in enumerate(cuts, 1):
        suffix = f"#{number}" if len(cuts) > 1 else ""
        part = samples[start:stop]
        yield suffix, None, start, part
        for augmentation in settings.augment:
            child = augmented(augmentation, part, settings.seed, utterance + suffix)
            yield f"{suffix}~{augmentation.name}", suffix, start, child[:limit]
