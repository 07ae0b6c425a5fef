"""From an utterance to clips: silence trimmed off its ends, long ones cut.

Pure functions on samples, called by `pipeline.corpora.prepare`, and the parameters that they
follow.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from pipeline.audio.formats import MIN_SAMPLES, Samples
from pipeline.ground.params import Section

FRAME_SAMPLES = 400
HOP_SAMPLES = 160


class Cutting(Section):
    """The part of ``preprocess`` that decides which clips an utterance becomes."""

    max_clip_s: Annotated[float, Field(ge=0.025, le=86_400)]
    last_clip: Literal["shorter", "overlapped"]
    trim_db: Annotated[float, Field(gt=0, le=200)] | None


def speech_part(samples: Samples, trim_db: float | None) -> tuple[int, int]:
    """Where the utterance starts and stops when silence is cut off its ends.

    A 25 ms frame counts as silent when its energy lies more than ``trim_db`` below that of the
    loudest frame (as ``librosa.effects.trim`` does). None keeps everything.
    """
    if trim_db is None:
        return 0, len(samples)
    padded = np.pad(samples, FRAME_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME_SAMPLES)[::HOP_SAMPLES]
    energy = np.einsum("ij,ij->i", frames, frames)
    loud = np.flatnonzero(energy >= energy.max() * 10 ** (-trim_db / 10))
    return int(loud[0]) * HOP_SAMPLES, min(len(samples), int(loud[-1] + 1) * HOP_SAMPLES)


def spans(samples: int, limit: int, last: str) -> list[tuple[int, int]]:
    """Cut ``samples`` into parts of ``limit`` samples.

    The last part is ``shorter``, or ``overlapped``: as long as the others, from the end backwards.
    A rest that is too short for one encoder frame is left out.
    """
    if samples <= limit:
        return [(0, samples)]
    if last == "overlapped":
        starts = [*range(0, samples - limit, limit), samples - limit]
    else:
        starts = list(range(0, samples - MIN_SAMPLES + 1, limit))
    return [(start, min(start + limit, samples)) for start in starts]
