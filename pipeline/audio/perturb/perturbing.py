"""A clip under a condition: what each kind of `pipeline.audio.perturb.conditions` does."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from pipeline.audio.formats import Samples
from pipeline.audio.perturb import channel, noise, room
from pipeline.audio.perturb.conditions import CLEAN, parts

Perturb: TypeAlias = Callable[[Samples, int, Sequence[Samples], np.random.Generator], Samples]

# What a kind makes of a clip, with its strength, other voices and random numbers.
_KINDS: Mapping[str, Perturb] = {
    CLEAN: lambda x, *_: x,
    "babble": noise.babble,
    "noise": lambda x, snr_db, _, random: noise.white(x, snr_db, random),
    "telephone": lambda x, *_: channel.telephone(x),
    "reverb": lambda x, ms, _, random: room.reverberant(x, ms / 1000, random),
    "quieter": lambda x, db, *_: channel.gain(x, -db),
    "louder": lambda x, db, *_: channel.gain(x, db),
    "mp3": lambda x, kbps, *_: channel.mp3(x, kbps),
    "speed": lambda x, percent, *_: channel.speed(x, percent / 100),
}


def perturbed(
    condition: str, samples: Samples, voices: Sequence[Samples], random: np.random.Generator
) -> Samples:
    """A clip under a condition: 16 kHz samples in, 16 kHz samples out, which may pass full scale.

    ``voices`` are those that babble.
    """
    kind, strength = parts(condition)
    return _KINDS[kind](samples, strength, voices, random)
