"""Audio files to emotions: decoded and cut as the classifier's own clips, judged one by one.

Between `pipeline.inference.judge` and the command `ser predict`.
"""

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.audio import decoding, flac
from pipeline.audio.formats import MIN_SAMPLES, SAMPLE_RATE_HZ, Samples
from pipeline.audio.recording import RejectedError
from pipeline.audio.segments import Cutting, spans
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import load_part
from pipeline.inference import passport, searching
from pipeline.inference.judge import Floats, Judge
from pipeline.inference.timeline import reading, turns
from pipeline.inference.timeline.opinions import Heard, Opinion
from pipeline.inference.timeline.sound import Resampled, Sound, speech
from pipeline.inference.timeline.turns import Turn
from pipeline.methods import preprocessing

UNCUT = Cutting(max_clip_s=86_400.0, last_clip="shorter", trim_db=None)
CLIPS, FIXED, VAD = "", "fixed", "vad"
# What an opinion of a stream is of: enough to tell, short enough to follow.
STREAM_S = 4.0
# Of what rates a stream may be, and how often at most something is judged.
RATES_HZ = range(4_000, 192_001)
LEAST_HOP_S = 0.01


@dataclass(frozen=True)
class Manner:
    """Which parts of a recording are judged.

    ``segments`` is `CLIPS` (as in training), `FIXED` windows of ``cutting.max_clip_s`` every
    ``hop_s``, `VAD`, or the path of a list of turns. The logits of parts whose middles are at most
    ``smooth_s`` apart are averaged, those of each speaker for themselves; 0 leaves them. An answer
    that is less confident than ``least`` is unsure.

    Raises:
        PipelineError: A length is not finite, or windows begin more often than every `LEAST_HOP_S`.
    """

    cutting: Cutting
    segments: str = CLIPS
    hop_s: float = 0.0
    smooth_s: float = 0.0
    least: float = 0.0

    def __post_init__(self) -> None:
        _require_seconds("the length of clips", self.cutting.max_clip_s, MIN_SAMPLES)
        _require_seconds("smooth_s", self.smooth_s, 0)
        if self.hop_s != 0:
            _require_seconds("hop_s", self.hop_s, LEAST_HOP_S * SAMPLE_RATE_HZ)


def _require_seconds(name: str, found_s: float, least_samples: float) -> None:
    least_s = least_samples / SAMPLE_RATE_HZ
    if not least_s <= found_s < math.inf:
        raise PipelineError(
            f"{name}: expected at least {least_s:g} s, got {found_s:g}, set another"
        )


def cutting_of(folder: Path) -> tuple[Cutting, list[str]]:
    """How the clips were cut that the classifier in ``folder`` learnt from, and what is to be said.

    A stage's folder that does not hold it (made by an earlier version, or from clips without
    provenance) follows ``params.yaml``; what an exported model does not know it does not do.
    """
    made = preprocessing.read(folder)
    if not passport.is_at_home(folder):
        return made or UNCUT, [] if made else [f"{folder}: no {preprocessing.FILE}, nothing is cut"]
    today = load_part("preprocess", Cutting)
    if made is None:
        held = ", ".join(f"{name} {value}" for name, value in _shown(today).items())
        return today, [
            f"{folder}: no {preprocessing.FILE}, files are cut as params.yaml has it ({held}), "
            "run `dvc repro` for a classifier that carries its own"
        ]
    pairs = zip(_shown(made).items(), _shown(today).values(), strict=True)
    return made, [
        f"{folder}: made with preprocess.{name} {old}, which is used; params.yaml has {new}"
        for (name, old), new in pairs
        if old != new
    ]


def _shown(cutting: Cutting) -> dict[str, str]:
    return {n: "none" if v is None else str(v) for n, v in cutting.model_dump().items()}


def listen(judge: Judge, file: Path, manner: Manner, spool: Path | None = None) -> Heard:
    """Decode, cut and judge one file; the whole is judged by the mean of its clips' logits.

    The file ``-`` is standard input, which is copied into the folder ``spool`` first.

    Raises:
        PipelineError: It is no file, cannot be read or decoded, or holds no speech.
    """
    place = reading.spooled(sys.stdin.buffer, spool) if spool and file == searching.STDIN else file
    return heard(judge, file, recorded(place, file), manner)


def recorded(place: Path, file: Path, most_s: float = math.inf) -> Sound:
    """What was recorded in the file at ``place``, which is called ``file``, decoded.

    Raises:
        RejectedError: It holds no speech, or ``too_long``, more than ``most_s`` seconds.
        PipelineError: It is no file, cannot be read or decoded.
    """
    searching.require_file(place)
    try:
        sound = reading.sound_of(place, most_s)
        _require_speech(file, sound)
    except OSError as error:
        raise PipelineError(f"{file}: {error.strerror}, mend this and run it again") from None
    except UnicodeError:  # soundfile's, of a path
        raise PipelineError(f"{file}: its name is not UTF-8, rename it") from None
    except RejectedError as error:
        # By its own name: what comes from standard input lies elsewhere.
        detail = error.detail.replace(str(place), str(file))
        if error.code != "undecodable":
            raise RejectedError(file, error.code, detail) from None
        raise PipelineError(f"{file}: {detail}, mend it or convert it to WAV or FLAC") from None
    return sound


def heard(judge: Judge, file: Path, sound: Sound, manner: Manner) -> Heard:
    """Cut and judge what was recorded, which is called ``file``.

    Raises:
        PipelineError: It holds no speech of the kind that ``manner`` asks for.
    """
    found, clips = _parts(file, sound, manner), _clips(manner.cutting)
    weighed = [_rows(judge, sound, clips(turn)) for turn in found]
    everything = np.concatenate(weighed).mean(0)
    means = np.stack([rows.mean(0) for rows in weighed])
    if manner.smooth_s:
        means = turns.smoothed(means, found, manner.smooth_s)
    parts = judge.settled(means)
    start, stop = found[0].start, max(turn.stop for turn in found)
    return Heard(
        file,
        _opinion(judge, Turn(start, stop), judge.settled(everything), manner.least),
        [_opinion(judge, *pair, manner.least) for pair in zip(found, parts, strict=True)],
        len(sound) / SAMPLE_RATE_HZ,
    )


def stream(
    judge: Judge,
    pcm: Iterable[bytes],
    rate_hz: int,
    window_s: float,
    every_s: float,
    least: float = 0.0,
) -> Iterator[Opinion]:
    """An opinion of the last ``window_s`` seconds, each time ``every_s`` more have come.

    ``pcm`` is mono, signed 16-bit little-endian, in pieces of any size. A rest shorter than
    ``every_s`` is judged at the end, with what came before it. What is less confident than
    ``least`` is unsure.

    Raises:
        PipelineError: The rate or a length is none.
    """
    followed = Followed(judge, rate_hz, window_s, every_s, least)
    for piece in pcm:
        yield from followed.hear(piece)
    yield from followed.end()


class Followed:
    """What `stream` hears, for who is given the pieces of a stream one by one."""

    def __init__(
        self, judge: Judge, rate_hz: int, window_s: float, every_s: float, least: float = 0.0
    ) -> None:
        if rate_hz not in RATES_HZ:
            raise PipelineError(
                f"stream: expected {RATES_HZ[0]} to {RATES_HZ[-1]} samples a second, got "
                f"{rate_hz}, convert it"
            )
        _require_seconds("window_s", window_s, MIN_SAMPLES)
        _require_seconds("every_s", every_s, LEAST_HOP_S * SAMPLE_RATE_HZ)
        self._judge, self._resampled, self._least = judge, Resampled(rate_hz), least
        self._window, self._every = (round(s * SAMPLE_RATE_HZ) for s in (window_s, every_s))
        self._rest, self._held = b"", np.zeros(0, np.float32)
        self._heard = self._judged = 0  # in samples

    def hear(self, piece: bytes) -> Iterator[Opinion]:
        """The opinions that a piece of any size brings."""
        self._rest += piece
        whole = len(self._rest) // 2 * 2
        samples, self._rest = self._rest[:whole], self._rest[whole:]
        wave = np.frombuffer(samples, "<i2").astype(np.float32) / np.float32(32768)
        yield from self._take(self._resampled.add(wave))

    def end(self) -> Iterator[Opinion]:
        """Those that the end brings: a rest is judged with what came before it."""
        yield from self._take(self._resampled.end())
        if self._heard > self._judged and self._heard >= MIN_SAMPLES:
            yield self._opinion(self._heard)

    def _take(self, block: Samples) -> Iterator[Opinion]:
        self._heard += len(block)
        self._held = np.concatenate([self._held, block])
        while self._heard - self._judged >= self._every:
            self._judged += self._every
            yield self._opinion(self._judged)
        unjudged = self._heard - self._judged
        self._held = self._held[max(0, len(self._held) - unjudged - self._window) :]

    def _opinion(self, upto: int) -> Opinion:
        start, first = max(0, upto - self._window), self._heard - len(self._held)
        wave = flac.as_stored(self._held[start - first : upto - first])
        logits = self._judge.logits([wave])[0]
        return _opinion(self._judge, Turn(start, upto), logits, self._least)


def _parts(file: Path, sound: Sound, manner: Manner) -> list[Turn]:
    limit = round(manner.cutting.max_clip_s * SAMPLE_RATE_HZ)
    if manner.segments == VAD:
        if not (found := turns.voiced(sound)):
            raise PipelineError(f"{file}: no speech was found in it, choose other --segments")
        return found
    if manner.segments not in (CLIPS, FIXED):
        return turns.given(Path(manner.segments), file.stem, len(sound))
    start, stop = speech(sound, manner.cutting.trim_db)
    if manner.segments == FIXED:
        hop = round(manner.hop_s * SAMPLE_RATE_HZ) or limit
        return turns.windows(start, stop, limit, hop)
    cuts = spans(stop - start, limit, manner.cutting.last_clip)
    return [Turn(start + a, start + b) for a, b in cuts]


def _clips(cutting: Cutting) -> Callable[[Turn], list[tuple[int, int]]]:
    """What cuts a turn into clips no longer than those of training."""
    limit = round(cutting.max_clip_s * SAMPLE_RATE_HZ)

    def clips(turn: Turn) -> list[tuple[int, int]]:
        cuts = spans(turn.stop - turn.start, limit, cutting.last_clip)
        return [(turn.start + a, turn.start + b) for a, b in cuts]

    return clips


def _rows(judge: Judge, sound: Sound, cuts: Sequence[tuple[int, int]]) -> Floats:
    # Clips are stored with 16 bits.
    waves = (flac.as_stored(sound.read(*cut)) for cut in cuts)
    return np.concatenate([judge.rows([wave]) for wave in waves])


def _opinion(judge: Judge, turn: Turn, logits: Floats, least: float) -> Opinion:
    where, exact = (turn.start / SAMPLE_RATE_HZ, turn.stop / SAMPLE_RATE_HZ), logits.astype(float)
    if judge.target == "dimensions":
        values = dict(zip(judge.classes, exact.tolist(), strict=True))
        return Opinion(*where, {}, values, turn.speaker)
    probabilities = np.exp(exact - np.logaddexp.reduce(exact))
    named = dict(zip(judge.classes, probabilities.tolist(), strict=True))
    return Opinion(*where, named, {}, turn.speaker, least)


def _require_speech(file: Path, sound: Sound) -> None:
    """As `decoding.require_speech`: one block that is long and loud enough will do."""
    silent: RejectedError | None = None
    for block in sound.blocks():
        try:
            return decoding.require_speech(file, block)
        except RejectedError as error:
            silent = silent or error
    raise silent or RejectedError(file, "empty", "no samples")
