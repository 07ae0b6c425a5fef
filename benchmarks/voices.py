"""Hours of the demo's own synthetic voices in memory, with HuBERT's first features, on all cores.

Each utterance follows from (seed, speaker, emotion, take) alone, and no label is kept but those
that the probe asks for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples
from pipeline.audio.resampling import resample
from pipeline.corpora.manifest import EMOTIONS, Clip
from pipeline.demo import synthesis, voice
from pipeline.encoders.frontends import Fbank, Mfcc
from pipeline.ground.progress import track
from pipeline.splits.task import Example
from pipeline.work import pool

SECONDS = 1.85  # of an utterance, about
TAKES = 12  # of a speaker in each emotion: each take has a text of its own

Heard = tuple[npt.NDArray[np.int16], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Said:
    """One utterance to be spoken; texts follow from ``take``, which no two speakers share."""

    speaker: int
    emotion: str
    take: int


def hours(length: float) -> list[Said]:
    """Whole speakers, women and men in turn, of about so many hours in all."""
    speakers = max(2, round(length * 3600 / SECONDS / TAKES / len(EMOTIONS)))
    return cast(speakers, TAKES)


def cast(speakers: int, takes: int) -> list[Said]:
    """Every speaker in every emotion, so many takes of each."""
    return [
        Said(speaker, emotion, speaker * takes + take)
        for speaker in range(speakers)
        for emotion in EMOTIONS
        for take in range(takes)
    ]


def heard(seed: int, said: Sequence[Said], features: Fbank | Mfcc) -> list[Heard]:
    """Each utterance's samples at 16 kHz and its features, (frames, width)."""

    def speak(part: Sequence[Said]) -> list[Heard]:
        made = []
        for one in part:
            spoken = synthesis.utter(seed, one.speaker, one.emotion, one.take, 1).samples
            wave = resample(samples(spoken), voice.RATE_HZ, SAMPLE_RATE_HZ)
            pcm = np.round(np.clip(wave, -1, 32767 / 32768) * 32768).astype(np.int16)
            made.append((pcm, features.frames(samples(pcm))))
        return made

    parts = [said[at : at + 32] for at in range(0, len(said), 32)]
    done = pool.forked(speak, parts, pool.cores())
    return [one for part in track(done, "speak", len(parts), "parts") for one in part]


def samples(pcm: npt.NDArray[np.int16]) -> Samples:
    """As a clip's file gives them."""
    found: Samples = pcm.astype(np.float32) / np.float32(32768)
    return found


def example(place: int, seconds: float, role: str) -> Example:
    """What the training loop asks of a clip."""
    name = f"{role}/{place}"
    texts = {one.name: "" for one in fields(Clip) if one.type is str}
    clip = Clip(**texts | {"clip": name, "utterance": name}, duration_s=seconds, start_s=0.0)  # type: ignore[arg-type]
    return Example(clip, role, -1, None)


def kept(path: Path, make: Callable[[], list[Heard]]) -> list[Heard]:
    """What ``make`` gives, from ``path`` where an earlier run left it."""
    if not path.is_file():
        pairs = make()
        ends = np.cumsum([[len(pcm), len(frames)] for pcm, frames in pairs], axis=0)
        staged = path.with_suffix(".npz~")
        with staged.open("wb") as file:
            np.savez(
                file,
                ends=ends,
                pcm=np.concatenate([pcm for pcm, _ in pairs]),
                frames=np.concatenate([frames for _, frames in pairs]),
            )
        staged.replace(path)
        return pairs
    with np.load(path) as found:
        ends = found["ends"][:-1]
        pcm = np.split(found["pcm"], ends[:, 0])
        return list(zip(pcm, np.split(found["frames"], ends[:, 1]), strict=True))
