"""The Python interface of a trained model: `load`, `predict`, `stream`.

What `ser_pipeline` offers under its own name.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.audio.segments import Cutting
from pipeline.inference import answers, judge, listening, remote
from pipeline.inference.judge import Judge
from pipeline.inference.listening import Manner
from pipeline.inference.timeline.opinions import Heard, Opinion
from pipeline.methods import calibration

__all__ = ["Heard", "Model", "Opinion", "load", "predict", "stream"]


@dataclass(frozen=True)
class Model:
    """A model at work: its classes, what judges clips, and how recordings are cut into clips."""

    judge: Judge
    cutting: Cutting

    @property
    def classes(self) -> list[str]:
        """The classes, in the order of the logits."""
        return self.judge.classes


def load(
    model: str | Path, device: str = "", backend: Literal["torch", "onnx", "onnx-int8"] = "torch"
) -> Model:
    """Load a model.

    Args:
        model: A folder that `ser export` wrote, or ``hf:OWNER/NAME@REVISION``.
        device: ``cpu``, ``cuda``, ``cuda:N`` or ``auto``, the default: a GPU where there is one.
        backend: What computes: PyTorch, or onnxruntime alone from ``model.onnx`` or
            ``model.int8.onnx``.

    Raises:
        PipelineError: There is no such model, it is damaged, or its encoder cannot be fetched.
    """
    folder = remote.folder(str(model))
    found, scale = judge.load(folder, device, backend), calibration.read(folder)
    if scale:
        found = answers.calibrated(found, scale)
    return Model(found, listening.cutting_of(folder)[0])


def predict(
    model: Model,
    file: str | Path,
    segments: str | Path = "",
    segment_s: float = 0.0,
    hop_s: float = 0.0,
    smooth_s: float = 0.0,
) -> Heard:
    """The emotion of a recording as a whole, and of its parts.

    Args:
        model: What `load` gave.
        file: The recording, of any length and of any container that libsndfile or ffmpeg reads.
        segments: Its parts: empty for clips as in training, ``fixed`` windows, ``vad``, or the
            path of an RTTM or CSV file of turns.
        segment_s: The length of clips and windows in seconds; 0 for that of training.
        hop_s: How often a window starts, in seconds; 0 for where the last one ends.
        smooth_s: The logits of a speaker's parts at most so far apart are averaged; 0 for none.

    Raises:
        PipelineError: The file cannot be read or decoded, or holds no speech.
    """
    cutting = model.cutting
    if segment_s:
        cutting = cutting.model_copy(update={"max_clip_s": segment_s})
    manner = Manner(cutting, str(segments), hop_s, smooth_s)
    return listening.listen(model.judge, Path(file), manner)


def stream(
    model: Model,
    pcm: Iterable[bytes],
    rate_hz: int = 16_000,
    window_s: float = listening.STREAM_S,
    every_s: float = 1.0,
) -> Iterator[Opinion]:
    """Opinions of a stream while it lasts, each of the last ``window_s`` seconds.

    Args:
        model: What `load` gave.
        pcm: Mono, signed 16-bit little-endian samples, in pieces of any size.
        rate_hz: The rate of the samples.
        window_s: How far back an opinion looks; at most the length of clips in training.
        every_s: The seconds of the stream between two opinions.
    """
    window_s = min(window_s, model.cutting.max_clip_s)
    yield from listening.stream(model.judge, pcm, rate_hz, window_s, every_s)
