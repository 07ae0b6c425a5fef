"""Simulated listeners: emotion shares, votes and dimensions of the demo corpus.

They judge the cues that were spoken, not the emotion that was meant: they hear the nine emotions of
the Hume-Prosody corpus (ComParE 2023, Emotion Share), choose one of the acted emotions, and rate
arousal and valence.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

# Where an emotion sounds most like itself: in the cues of `synthesis.CUES`, in their scales.
PERCEPTS = {
    "anger": (0.8, 1.0, 0.0, 0.8, 1.7, 1.7, 0.7, 0.0),
    "boredom": (-0.6, -1.2, -0.6, -1.2, -0.6, -0.4, 0.2, 0.2),
    "calmness": (-0.4, -0.4, -0.3, -0.9, -0.7, -0.7, -0.1, 0.5),
    "concentration": (-0.2, -0.3, -0.2, -0.5, 0.0, 0.2, 0.2, 0.0),
    "determination": (0.3, 0.3, -0.4, 0.2, 1.0, 1.0, 0.2, -0.1),
    "excitement": (1.3, 1.4, 1.0, 0.7, 0.9, 0.3, 0.1, 0.2),
    "interest": (0.7, 0.7, 1.0, 0.1, 0.3, 0.0, 0.0, 0.2),
    "sadness": (-0.6, -0.9, -1.0, -1.3, -1.2, -1.2, 0.4, 1.0),
    "tiredness": (-0.7, -1.0, -0.7, -1.4, -1.2, -0.9, 0.5, 0.7),
}
# What raises a rating, in the same scales. Arousal follows the effort of a voice (Banse & Scherer,
# 1996); valence, which voices tell less of, melody against harshness [ours].
DIMENSIONS = {
    "arousal": (0.25, 0.2, 0.0, 0.3, 0.4, 0.3, 0.0, 0.0),
    "valence": (0.0, 0.5, 0.4, 0.0, 0.0, -0.5, -0.8, -0.2),
}
SCALE = (1, 7)  # of the ratings, in whole steps, 4 for neutral speech
OPINION_SPREAD = 0.8  # of listeners' ratings around what the cues say
TOLERANCE = 1.6  # scales from its percept, where an emotion is heard exp(-1/2) as often
CLARITY = 0.9  # how often it is heard at its percept


def affinities(cues: NDArray[np.float64]) -> dict[str, float]:
    """The probability that a listener hears each emotion in the cues, of shape (cues,).

    It falls with the squared distance from the percept, so that neighbours such as boredom and
    tiredness are confused; a listener may hear several emotions, or none.
    """
    return {
        emotion: CLARITY * float(np.exp(-0.5 * np.sum((cues - percept) ** 2) / TOLERANCE**2))
        for emotion, percept in PERCEPTS.items()
    }


def shares(cues: NDArray[np.float64], panel: int, rng: np.random.Generator) -> dict[str, float]:
    """The fraction of a panel's listeners who hear each emotion, in [0, 1]."""
    return {
        emotion: int(rng.binomial(panel, probability)) / panel
        for emotion, probability in affinities(cues).items()
    }


def votes(
    cues: NDArray[np.float64],
    expressions: Mapping[str, Sequence[float]],
    panel: int,
    rng: np.random.Generator,
) -> dict[str, int]:
    """How many of a panel's listeners choose each emotion: the more often, the nearer it is."""
    apart = np.array([np.sum((cues - cue) ** 2) for cue in expressions.values()])
    near = np.exp(-0.5 * apart / TOLERANCE**2)
    counts = rng.multinomial(panel, near / near.sum())
    return dict(zip(expressions, counts.tolist(), strict=True))


def dimensions(cues: NDArray[np.float64], panel: int, rng: np.random.Generator) -> dict[str, float]:
    """The mean of a panel's ratings of each dimension, within `SCALE`."""
    found = {}
    for name, effect in DIMENSIONS.items():
        opinions = sum(SCALE) / 2 + cues @ np.array(effect) + rng.normal(0, OPINION_SPREAD, panel)
        found[name] = float(np.clip(np.round(opinions), *SCALE).mean())
    return found
