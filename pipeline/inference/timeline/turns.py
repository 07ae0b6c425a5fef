"""Where a recording is judged: windows, what a voice detector finds, or turns that are given."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.audio.formats import MIN_SAMPLES, SAMPLE_RATE_HZ
from pipeline.corpora import tables
from pipeline.ground.errors import PipelineError
from pipeline.inference.timeline.sound import Sound

# silero-vad's own defaults: what it takes at once, the shortest speech and the shortest pause.
CHUNK_SAMPLES = 512
BLOCK_CHUNKS = 1000
MIN_SPEECH_S = 0.25
MIN_SILENCE_MS = 100
MAX_S = 1e7
# Annotations are rounded: a turn may end up to 10 ms after the recording.
SLACK_SAMPLES = SAMPLE_RATE_HZ // 100


@dataclass(frozen=True)
class Turn:
    """A stretch of a recording, in samples, and who speaks where that is known."""

    start: int
    stop: int
    speaker: str = ""


def windows(start: int, stop: int, length: int, hop: int) -> list[Turn]:
    """Stretches of ``length`` every ``hop`` samples, the last one shorter.

    One that ends where the one before it ended, or is too short for an encoder's frame, is left
    out.
    """
    found = [Turn(start, min(start + length, stop))]
    while found[-1].stop < stop and stop - found[-1].start - hop >= MIN_SAMPLES:
        at = found[-1].start + hop
        found.append(Turn(at, min(at + length, stop)))
    return found


def voiced(sound: Sound) -> list[Turn]:
    """What silero-vad finds to be speech, in constant memory.

    Raises:
        PipelineError: The extra ``vad`` is not installed.
    """
    try:
        import silero_vad
    except ImportError:
        raise PipelineError(
            "silero-vad: not installed, run `pip install 'ser-pipeline[vad]'`"
        ) from None
    import torch

    detector = silero_vad.VADIterator(
        silero_vad.load_silero_vad(), min_silence_duration_ms=MIN_SILENCE_MS
    )
    events: list[dict[str, int]] = []
    for block in sound.blocks(CHUNK_SAMPLES * BLOCK_CHUNKS):
        for chunk in torch.from_numpy(block.copy()).split(CHUNK_SAMPLES):
            padded = torch.nn.functional.pad(chunk, (0, CHUNK_SAMPLES - len(chunk)))
            if event := detector(padded):
                events.append(event)
    starts = [event["start"] for event in events if "start" in event]
    stops = [min(event["end"], len(sound)) for event in events if "end" in event]
    stops += [len(sound)] * (len(starts) - len(stops))
    shortest = round(MIN_SPEECH_S * SAMPLE_RATE_HZ)
    return [Turn(*pair) for pair in zip(starts, stops, strict=True) if pair[1] - pair[0] > shortest]


def given(path: Path, recording: str, samples: int) -> list[Turn]:
    """The turns of one recording that a file lists, in the order of their starts.

    Args:
        path: RTTM (``SPEAKER <file> <channel> <start> <duration> ... <name>``, as diarization
            writes it), or CSV with the columns ``start`` and ``end`` in seconds, and ``speaker``
            and ``file`` where there are any.
        recording: Its file's name without suffix; rows of other files are left out.
        samples: Its length.

    Raises:
        PipelineError: The file is malformed, lists no turn of the recording, or one that is empty
            or lies beyond its end.
    """
    rows = list(_rttm(path) if path.suffix.lower() == ".rttm" else _csv(path))
    named = {row.file for row in rows if row.file}
    own = [row for row in rows if row.file in ("", recording)]
    if not own:
        several = f" but of {', '.join(sorted(named)[:5])}" if named else ""
        raise PipelineError(f"{path}: no segment of {recording}{several}, add one")
    return sorted((row.turn(samples) for row in own), key=lambda turn: (turn.start, turn.stop))


@dataclass(frozen=True)
class _Row:
    where: str
    start_s: float
    end_s: float
    speaker: str
    file: str

    def turn(self, samples: int) -> Turn:
        start, stop = round(self.start_s * SAMPLE_RATE_HZ), round(self.end_s * SAMPLE_RATE_HZ)
        if stop - start < MIN_SAMPLES or stop > samples + SLACK_SAMPLES:
            raise PipelineError(
                f"{self.where}: expected a segment of at least {MIN_SAMPLES / SAMPLE_RATE_HZ} s "
                f"within the {samples / SAMPLE_RATE_HZ:.2f} s of the recording, got "
                f"{self.start_s:g} to {self.end_s:g} s, mend it"
            )
        return Turn(start, min(stop, samples), self.speaker)


def _csv(path: Path) -> Iterator[_Row]:
    for line in tables.read(path, ["start", "end"], ["speaker", "file"]):
        start_s, end_s = (line.number(name, 0, MAX_S) for name in ("start", "end"))
        if start_s is None or end_s is None:
            raise PipelineError(f"{line.where}: start and end must be seconds, got none, fill in")
        file = Path(line.cells.get("file", "")).stem
        yield _Row(line.where, start_s, end_s, line.cells.get("speaker", ""), file)


def _rttm(path: Path) -> Iterator[_Row]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise PipelineError(f"{path}: not UTF-8, convert it") from None
    for number, line in enumerate(lines, 1):
        cells = line.split()
        if not cells or cells[0] != "SPEAKER":
            continue
        try:
            start_s, length_s = float(cells[3]), float(cells[4])
            speaker = cells[7]
        except (ValueError, IndexError):
            start_s = length_s = math.nan
            speaker = ""
        if not (0 <= start_s <= MAX_S and 0 <= length_s <= MAX_S):
            raise PipelineError(
                f"{path}: line {number}: expected SPEAKER <file> <channel> <start> <duration> <NA> "
                f"<NA> <name>, got {line[:80]!r}, mend it"
            )
        yield _Row(f"{path}: line {number}", start_s, start_s + length_s, _known(speaker), cells[1])


def _known(name: str) -> str:
    return "" if name == "<NA>" else name


def smoothed(logits: Any, turns: Sequence[Turn], within_s: float) -> Any:
    """Each turn's logits (turns, classes) averaged with those of its speaker's turns around it.

    Around are those whose middles lie at most ``within_s`` seconds from its own.
    """
    import numpy as np

    middles = np.array([(turn.start + turn.stop) / 2 / SAMPLE_RATE_HZ for turn in turns])
    made = np.array(logits)
    for speaker in {turn.speaker for turn in turns}:
        own = np.flatnonzero([turn.speaker == speaker for turn in turns])
        order = own[np.argsort(middles[own], kind="stable")]
        at = middles[order]
        first = np.searchsorted(at, at - within_s - 1e-9)
        last = np.searchsorted(at, at + within_s + 1e-9)
        sums = np.concatenate([np.zeros_like(made[:1]), logits[order].cumsum(0)])
        made[order] = (sums[last] - sums[first]) / (last - first)[:, None]
    return made
