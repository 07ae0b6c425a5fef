"""A recording of any length as samples: mono, 16 kHz, in memory while it is short, else on disk.

Decoded once, block by block, and read from anywhere: hours of audio take the memory of minutes.
"""

import tempfile
from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples
from pipeline.audio.segments import FRAME_SAMPLES, HOP_SAMPLES, speech_part

# Beyond these 17 minutes a recording lies in a temporary file (TMPDIR), 230 MB an hour.
HELD_BYTES = 2**26
# What is brought into memory at once, a multiple of `HOP_SAMPLES`: five minutes.
BLOCK_SAMPLES = HOP_SAMPLES * 30_000
_WIDTH = 4


class Sound:
    """Samples that are appended block by block and read from anywhere."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(HELD_BYTES)  # noqa: SIM115 - as long as self
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, samples: Samples) -> None:
        """Add samples at the end.

        Raises:
            OSError: The disk is full.
        """
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(samples, np.float32).tobytes())
        self._length += len(samples)

    def read(self, start: int, stop: int) -> Samples:
        """The samples from ``start`` to ``stop``, as far as there are any."""
        start = max(0, start)
        self._file.seek(start * _WIDTH)
        held = self._file.read(max(0, min(stop, self._length) - start) * _WIDTH)
        return np.frombuffer(held, np.float32)

    def blocks(self, samples: int = BLOCK_SAMPLES) -> Iterator[Samples]:
        """All of it, ``samples`` at a time."""
        for start in range(0, self._length, samples):
            yield self.read(start, start + samples)


def speech(sound: Sound, trim_db: float | None) -> tuple[int, int]:
    """As `pipeline.audio.segments.speech_part`, of a sound of any length."""
    if trim_db is None or len(sound) <= BLOCK_SAMPLES:
        return speech_part(sound.read(0, len(sound)), trim_db) if trim_db else (0, len(sound))
    energy = np.concatenate(list(_energies(sound)))
    loud = np.flatnonzero(energy >= energy.max() * 10 ** (-trim_db / 10))
    return int(loud[0]) * HOP_SAMPLES, min(len(sound), int(loud[-1] + 1) * HOP_SAMPLES)


def _energies(sound: Sound) -> Iterator[Samples]:
    """That of each frame; frame n is centred on sample n * `HOP_SAMPLES`, beyond the ends is 0."""
    half = FRAME_SAMPLES // 2
    for start in range(0, len(sound) + 1, BLOCK_SAMPLES):
        stop = min(start + BLOCK_SAMPLES, len(sound) + HOP_SAMPLES)
        count = sum(1 for _ in range(start, min(stop, len(sound) + 1), HOP_SAMPLES))
        first, last = start - half, start + (count - 1) * HOP_SAMPLES + half
        held = np.pad(sound.read(first, last), (max(0, -first), max(0, last - len(sound))))
        frames = np.lib.stride_tricks.sliding_window_view(held, FRAME_SAMPLES)[::HOP_SAMPLES]
        yield np.einsum("ij,ij->i", frames, frames)


def resampled(blocks: Iterable[Samples], rate_hz: int) -> Iterator[Samples]:
    """Mono blocks at any rate as blocks at 16 kHz, as if they were resampled as one (soxr, HQ)."""
    made = Resampled(rate_hz)
    for block in blocks:
        yield made.add(block)
    yield made.end()


class Resampled:
    """What `resampled` makes, for who is given the blocks one by one."""

    def __init__(self, rate_hz: int) -> None:
        known = rate_hz == SAMPLE_RATE_HZ
        self._stream = (
            None
            if known
            else soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
        )

    def add(self, block: Samples) -> Samples:
        """What is known of the samples at 16 kHz, once this block has come."""
        return self._resampled(np.ascontiguousarray(block), last=False)

    def end(self) -> Samples:
        """The rest of them."""
        return self._resampled(np.zeros(0, np.float32), last=True)

    def _resampled(self, block: Samples, last: bool) -> Samples:
        made: Samples = self._stream.resample_chunk(block, last=last) if self._stream else block
        return made
