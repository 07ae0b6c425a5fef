"""Recordings to try a model on where there are none at hand: voices that are in no demo corpus."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from pipeline.demo import synthesis
from pipeline.demo.voice import RATE_HZ

SEED = 20_260_101  # not one that a demo corpus has, so that its speakers are others
PANEL = 1  # of listeners, whom nobody asks here
# A recording's name: its speaker, and one emotion after another.
EXAMPLES = {
    "a woman, emotions change": (0, ("neutral", "happy", "angry", "sad")),
    "a man, emotions change": (1, ("calm", "fear", "surprise", "neutral")),
    "a woman, happy": (2, ("happy",)),
    "a man, angry": (3, ("angry",)),
    "a woman, sad": (4, ("sad",)),
}


def write(folder: Path) -> list[Path]:
    """Synthesise `EXAMPLES` as WAV files in a folder; they are returned."""
    found = []
    for name, (speaker, emotions) in EXAMPLES.items():
        path = folder / f"{name}.wav"
        wavfile.write(path, RATE_HZ, spoken(speaker, emotions))
        found.append(path)
    return found


def spoken(speaker: int, emotions: Sequence[str]) -> np.ndarray:
    """One voice in one emotion after another: 16-bit samples at 44.1 kHz, of shape (samples,)."""
    takes = [
        synthesis.utter(SEED, speaker, emotion, take, PANEL).samples
        for take, emotion in enumerate(emotions)
    ]
    return np.concatenate(takes)
