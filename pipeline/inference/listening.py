"""Audio files to emotions: decoded and cut as the classifier's own clips, judged one by one.

Between `pipeline.inference.judge` and the command `ser predict`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.audio import decoding, flac
from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples
from pipeline.audio.recording import RejectedError
from pipeline.audio.segments import Cutting, spans, speech_part
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import load_part
from pipeline.inference import searching
from pipeline.inference.judge import Judge
from pipeline.methods import preprocessing


@dataclass(frozen=True)
class Opinion:
    """Where it begins and ends in the file, in seconds, and each class's probability.

    Of the target dimensions there are values in the place of probabilities, and no label.
    """

    start_s: float
    end_s: float
    probabilities: Mapping[str, float]
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def told(self) -> Mapping[str, float]:
        """The probabilities, or the values."""
        return self.probabilities or self.values


@dataclass(frozen=True)
class Heard:
    """A file's emotion as a whole, and over time."""

    file: Path
    whole: Opinion
    clips: list[Opinion]


def cutting_of(folder: Path) -> tuple[Cutting, list[str]]:
    """How the clips were cut that the classifier in ``folder`` learnt from, and what is to be said.

    A folder that does not hold it (made by an earlier version, or from clips without provenance)
    follows ``params.yaml``.
    """
    today = load_part("preprocess", Cutting)
    made = preprocessing.read(folder)
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


def listen(judge: Judge, file: Path, cutting: Cutting) -> Heard:
    """Decode, cut and judge one file; the whole is judged by the mean of its clips' logits.

    Raises:
        PipelineError: It is no file, cannot be read or decoded, or holds no speech.
    """
    samples = _samples(file)
    start, stop = speech_part(samples, cutting.trim_db)
    limit = round(cutting.max_clip_s * SAMPLE_RATE_HZ)
    cuts = [(start + a, start + b) for a, b in spans(stop - start, limit, cutting.last_clip)]
    # Clips are stored with 16 bits.
    waves = [flac.as_stored(samples[a:b]) for a, b in cuts]
    logits = np.concatenate([judge.logits([wave]) for wave in waves])
    clips = [_opinion(judge, *cut, row) for cut, row in zip(cuts, logits, strict=True)]
    return Heard(file, _opinion(judge, start, stop, logits.mean(0)), clips)


def _samples(file: Path) -> Samples:
    searching.require_file(file)
    try:
        samples, _ = decoding.decode(file)
    except OSError as error:
        raise PipelineError(f"{file}: {error.strerror}, mend this and run it again") from None
    except UnicodeError:  # soundfile's, of a path
        raise PipelineError(f"{file}: its name is not UTF-8, rename it") from None
    except RejectedError as error:
        if error.code != "undecodable":
            raise
        raise PipelineError(f"{file}: {error.detail}, convert it to WAV or FLAC") from None
    decoding.require_speech(file, samples)
    return samples


def _opinion(judge: Judge, start: int, stop: int, logits: npt.NDArray[np.float32]) -> Opinion:
    exact, where = logits.astype(np.float64), (start / SAMPLE_RATE_HZ, stop / SAMPLE_RATE_HZ)
    if judge.target == "dimensions":
        return Opinion(*where, {}, dict(zip(judge.classes, exact.tolist(), strict=True)))
    probabilities = np.exp(exact - np.logaddexp.reduce(exact))
    named = dict(zip(judge.classes, probabilities.tolist(), strict=True))
    return Opinion(*where, named)
