"""From a row and its recording to clips: decode, trim, cut, augment, encode as FLAC."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.audio import decoding, flac, formats
from pipeline.audio.augmentation import Augmentation, augmented
from pipeline.audio.formats import SAMPLE_RATE_HZ
from pipeline.audio.recording import Recording, RejectedError
from pipeline.audio.segments import spans, speech_part
from pipeline.corpora.entries import Row
from pipeline.corpora.prepared import Prepared, Segment

MISCUT_S = 1.0  # by which a clip's length may differ from what its label says


@dataclass(frozen=True)
class Settings:
    """How utterances become clips: the part of `preprocess`'s params that their samples obey."""

    max_clip_s: float
    last_clip: str
    max_utterance_s: float
    trim_db: float | None
    augment: tuple[Augmentation, ...]
    seed: int


def make(settings: Settings, recording: Recording, row: Row) -> tuple[Prepared, bytes]:
    """What becomes of a row, and the FLAC files of its clips, one after another."""
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
