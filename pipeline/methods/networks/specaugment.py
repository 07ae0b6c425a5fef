"""Augmentation of log-mel frames in training: speed, masks (SpecAugment), mixup.

Every draw comes from a generator that the caller seeds per clip and epoch, so that a clip's frames
depend neither on its batch nor on what was drawn before. Frames are standardised: 0 is the mean of
training, which masks put in place of what they hide, as SpecAugment does.
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.ground.params import Section

Floats = npt.NDArray[np.float32]
Count = Annotated[int, Field(ge=0, le=100_000)]


class Augmentation(Section):
    """``augmentation``: what happens to a clip's frames, anew in each epoch.

    In SpecAugment's symbols (Park et al., 2019, section 2), ``masks`` is m_F and m_T,
    ``mask_bands`` F, ``mask_frames`` T; a change of speed stands in for time warping. ``mixup`` is
    alpha of Zhang et al., 2018.
    """

    speed: Annotated[float, Field(ge=0, lt=1)]
    masks: Count
    mask_frames: Count
    mask_bands: Count
    mixup: Annotated[float, Field(ge=0, le=100_000)]


def augmented(frames: Floats, settings: Augmentation, random: np.random.Generator) -> Floats:
    """A clip's frames (frames, bands) at another speed and with masks; a copy."""
    rate = 1 + random.uniform(-settings.speed, settings.speed)
    made = resampled(frames, max(1, round(len(frames) / rate)))
    for _ in range(settings.masks):
        made[_span(random, settings.mask_frames, len(made))] = 0
        made[:, _span(random, settings.mask_bands, made.shape[1])] = 0
    return made


def resampled(frames: Floats, length: int) -> Floats:
    """Frames (frames, bands) stretched to ``length`` by linear interpolation, ends on ends."""
    at = np.linspace(0, len(frames) - 1, length)
    left = at.astype(int)
    right = np.minimum(left + 1, len(frames) - 1)
    weight = (at - left).astype(np.float32)[:, None]
    made: Floats = frames[left] * (1 - weight) + frames[right] * weight
    return made


def mixture(alpha: float, random: np.random.Generator) -> float:
    """The share that a clip keeps in mixup: from Beta(alpha, alpha), the larger part; 1 for 0."""
    drawn = random.beta(alpha, alpha) if alpha else 1.0
    return float(max(drawn, 1 - drawn))


def mixed(frames: Floats, other: Floats, share: float) -> Floats:
    """``share`` of a clip's frames and the rest of another's; the first clip's length stays."""
    both = min(len(frames), len(other))
    made = frames * np.float32(share)
    made[:both] += other[:both] * np.float32(1 - share)
    return made


def _span(random: np.random.Generator, longest: int, length: int) -> slice:
    """A span of 0 to ``longest`` positions (SpecAugment: never more than there are)."""
    width = int(random.integers(0, min(longest, length) + 1))
    start = int(random.integers(0, length - width + 1))
    return slice(start, start + width)
