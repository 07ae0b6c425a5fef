"""Audio files to emotions: decoded and cut as `preprocess` does, judged clip by clip.

Between `pipeline.inference.judge` and the command `ser predict`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.audio import decoding, flac
from pipeline.audio.formats import SAMPLE_RATE_HZ
from pipeline.audio.segments import Cutting, spans, speech_part
from pipeline.ground.errors import PipelineError
from pipeline.inference.judge import Judge

# What a folder is searched for; a file that is named is tried whatever it is called.
SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc"}


@dataclass(frozen=True)
class Opinion:
    """Where it begins and ends in the file, in seconds, and each class's probability."""

    start_s: float
    end_s: float
    probabilities: Mapping[str, float]

    @property
    def label(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=self.probabilities.__getitem__)


@dataclass(frozen=True)
class Heard:
    """A file's emotion as a whole, and over time."""

    file: Path
    whole: Opinion
    clips: list[Opinion]


def audio_files(places: Iterable[Path]) -> Iterator[Path]:
    """Each file, and the audio files below each folder, sorted.

    Raises:
        PipelineError: There is no such file or folder.
    """
    for place in places:
        if place.is_dir():
            yield from sorted(p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES)
        elif place.is_file():
            yield place
        else:
            raise PipelineError(f"{place}: no such file or folder, check the path")


def listen(judge: Judge, file: Path, cutting: Cutting) -> Heard:
    """Decode, cut and judge one file; the whole is judged by the mean of its clips' logits.

    Raises:
        RejectedError: The file cannot be decoded, or holds no speech.
    """
    samples, _ = decoding.decode(file)
    decoding.require_speech(file, samples)
    start, stop = speech_part(samples, cutting.trim_db)
    limit = round(cutting.max_clip_s * SAMPLE_RATE_HZ)
    cuts = [(start + a, start + b) for a, b in spans(stop - start, limit, cutting.last_clip)]
    # Clips are stored with 16 bits.
    waves = [flac.as_stored(samples[a:b]) for a, b in cuts]
    logits = np.concatenate([judge.logits([wave]) for wave in waves])
    clips = [_opinion(judge, *cut, row) for cut, row in zip(cuts, logits, strict=True)]
    return Heard(file, _opinion(judge, start, stop, logits.mean(0)), clips)


def _opinion(judge: Judge, start: int, stop: int, logits: npt.NDArray[np.float32]) -> Opinion:
    exact = logits.astype(np.float64)
    probabilities = np.exp(exact - np.logaddexp.reduce(exact))
    named = dict(zip(judge.classes, probabilities.tolist(), strict=True))
    return Opinion(start / SAMPLE_RATE_HZ, stop / SAMPLE_RATE_HZ, named)
