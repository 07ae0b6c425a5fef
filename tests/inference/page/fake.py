"""``python -m tests.inference.page.fake TARGET``: a page whose answers can be computed by hand.

A clip's loudness decides, so that what a microphone heard is told by the answer.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.audio.formats import Samples
from pipeline.audio.segments import Cutting
from pipeline.inference import api, remote
from pipeline.inference.judge import Judge
from pipeline.inference.page import running
from pipeline.inference.page.building import Limits
from pipeline.methods.finetuning import Target

CUTTING = Cutting(max_clip_s=1.0, last_clip="shorter", trim_db=None)
CLASSES: dict[Target, list[str]] = {
    "emotion": ["happy", "sad", "neutral"],
    "dimensions": ["arousal", "valence"],
}


def level(wave: Samples) -> float:
    """The mean of the amplitudes, in [0, 1]."""
    return float(np.abs(wave).mean())


def emotion(waves: Sequence[Samples]) -> npt.NDArray[np.float32]:
    """Happy above a level of 0.05, else sad."""
    return np.array([[20 * level(w) - 1, 1 - 20 * level(w), 0] for w in waves], np.float32)


def dimensions(waves: Sequence[Samples]) -> npt.NDArray[np.float32]:
    """From 1 to 7: arousal with the level, valence against it."""
    return np.array([[1 + 20 * level(w), 7 - 20 * level(w)] for w in waves], np.float32)


def stay_here(event: str, arguments: tuple[Any, ...]) -> None:
    """End the process where it asks for another machine (an audit hook of Python)."""
    named = arguments[0] if event == "socket.getaddrinfo" else None
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        named = arguments[1][0]
    if named not in (None, "127.0.0.1", "::1", "localhost"):
        os.write(2, f"{event}: {named}\n".encode())
        os._exit(3)


if __name__ == "__main__":
    sys.addaudithook(stay_here)
    target: Target = "emotion" if sys.argv[1] == "emotion" else "dimensions"
    judge = Judge(target, CLASSES[target], {"emotion": emotion, "dimensions": dimensions}[target])
    api.load = lambda *_: api.Model(judge, CUTTING)
    remote.folder = Path
    running.run("fake", port=0, limits=Limits(mib=4, seconds=20), scale=(1, 7), threads=1)
