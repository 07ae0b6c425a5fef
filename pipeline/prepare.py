"""From a corpus row to its clips: decode, trim, cut, augment and write FLAC, on all cores.

`preprocess` runs `prepare_all` and makes the manifest of what it yields. Finished utterances lie in
the scratch store, keyed by the content of their source, so that a file added to a corpus, or a
killed run, costs only what is new. Bytes are checked when they are taken from there.
"""

import ctypes
import json
import multiprocessing
import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline import audio, files, manifest
from pipeline.augment import Augmentation, augmented
from pipeline.containers import RejectedError
from pipeline.corpora.base import Row
from pipeline.errors import PipelineError
from pipeline.manifest import SAMPLE_RATE_HZ, Clip
from pipeline.segments import spans, speech_part

_CHUNK = 8  # rows sent to a worker at a time
_PR_SET_PDEATHSIG = 1


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
    """What became of a row: its segments, or the code and detail of its rejection.

    ``stored`` names the file in the store that holds their FLAC files, one after the other.
    """

    row: Row
    stored: str
    segments: tuple[Segment, ...] = ()
    source: audio.Source | None = None
    code: str = ""
    detail: str = ""


def prepare_all(
    rows: Sequence[Row], settings: Settings, raw: Path, store: Path, workers: int
) -> Iterator[Prepared]:
    """Yield what became of each row, in order; ``workers`` processes (0: none) do the work.

    Args:
        rows: The utterances of a corpus.
        settings: How they become clips.
        raw: The corpus folder.
        store: Where finished clips are kept between runs.
        workers: How many processes.

    Raises:
        PipelineError: A worker was killed from outside.
    """
    work = partial(_prepare, settings, raw, store)
    if workers == 0:
        yield from map(work, rows)
        return
    # Forked: a fresh interpreter per worker would cost more than a small corpus takes.
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, context, _start_worker) as pool:
        try:
            yield from pool.map(work, rows, chunksize=_CHUNK)
        except BrokenProcessPool:
            raise PipelineError(
                "a worker was killed, perhaps for lack of memory: lower runtime.workers and run "
                "it again, it resumes"
            ) from None


def place(folder: Path, store: Path, kept: Iterable[Prepared], corpus: str, language: str) -> None:
    """Fill an output folder: each clip's FLAC from the store, and ``manifest.csv``."""
    clips: list[Clip] = []
    made: set[Path] = set()
    for prepared in kept:
        _, flacs = _read(store / prepared.stored)
        start = 0
        for segment in prepared.segments:
            clip = _clip(prepared.row, segment, corpus, language)
            target = folder / clip.path
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            target.write_bytes(flacs[start : start + segment.size_bytes])
            start += segment.size_bytes
            clips.append(clip)
    manifest.write(folder / "manifest.csv", clips)


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
    )


def _clip_path(name: str) -> str:
    """A clip's path beside the manifest: its name with unusual characters percent-encoded."""
    quoted = quote(name, safe="/ #~@+=,()'")
    parts = [f"%2E{part[1:]}" if part.startswith(".") else part for part in quoted.split("/")]
    return "audio/" + "/".join(parts) + ".flac"


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prepare(settings: Settings, raw: Path, store: Path, row: Row) -> Prepared:
    path = raw / row.source
    stored = files.digest([files.sha256(path), row.utterance, row.start_s, row.end_s])
    found = _recall(row, store, stored)
    if found is None:
        found, flacs = _make(settings, path, row, stored)
        known = asdict(found) | {"row": None, "flacs_sha256": sha256(flacs).hexdigest()}
        (store / stored).write_bytes(json.dumps(known).encode() + b"\n" + flacs)
    return found


def _read(path: Path) -> tuple[bytes, bytes]:
    """A file of the store: what is known about an utterance, and its FLAC files."""
    known, _, flacs = path.read_bytes().partition(b"\n")
    return known, flacs


def _recall(row: Row, store: Path, stored: str) -> Prepared | None:
    """What an earlier run made of the row, if all of it is there, byte for byte."""
    try:
        text, flacs = _read(store / stored)
        known: dict[str, Any] = json.loads(text)
        if known["flacs_sha256"] != sha256(flacs).hexdigest():
            return None
        segments = tuple(Segment(**segment) for segment in known["segments"])
        source = audio.Source(**known["source"]) if known["source"] else None
        return Prepared(row, stored, segments, source, known["code"], known["detail"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _make(settings: Settings, path: Path, row: Row, stored: str) -> tuple[Prepared, bytes]:
    try:
        samples, source = audio.decode(path, row.start_s, row.end_s, settings.max_utterance_s)
        audio.require_speech(path, samples)
    except RejectedError as error:
        return Prepared(row, stored, code=error.code, detail=error.detail), b""
    start, stop = speech_part(samples, settings.trim_db)
    segments, flacs = [], []
    for suffix, parent, begin, part in _parts(settings, row.utterance, samples[start:stop]):
        start_s = round(row.start_s + (start + begin) / SAMPLE_RATE_HZ, 6)
        flac, checksum = audio.encode_flac(part)
        duration_s = len(part) / SAMPLE_RATE_HZ
        segments.append(Segment(suffix, parent, start_s, duration_s, checksum, len(flac)))
        flacs.append(flac)
    return Prepared(row, stored, tuple(segments), source), b"".join(flacs)


def _parts(
    settings: Settings, utterance: str, samples: audio.Samples
) -> Iterator[tuple[str, str | None, int, audio.Samples]]:
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
