"""The conditions under which test clips are judged again, by name: a kind, then its strength.

``babble-20`` and ``noise-20`` have a signal-to-noise ratio of 20 dB, ``reverb-300`` a reverberation
time of 300 ms, ``quieter-20`` and ``louder-12`` another level in dB, ``mp3-32`` 32 kbit/s,
``speed-90`` nine tenths of the speed; ``telephone`` has none.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, TypeAlias

import numpy as np
from pydantic import Field

from pipeline.audio.formats import Samples
from pipeline.audio.perturb import channel, noise, room

CLEAN = "clean"  # what is compared with: no condition of params.yaml

Condition = Annotated[
    str,
    Field(
        pattern=r"^(telephone|(babble|noise|quieter|louder)-\d{1,2}|reverb-[1-9]\d{2,3}"
        r"|mp3-(16|24|32|40|48|56|64|80|96|112|128|144|160)|speed-([5-9]\d|1\d\d|200))$"
    ),
]

VOICES = 6  # that babble at once

Perturb: TypeAlias = Callable[[Samples, int, Sequence[Samples], np.random.Generator], Samples]

# By kind: as a reader knows it, and what it does with a strength, other voices and random numbers.
_KINDS: Mapping[str, tuple[str, Perturb]] = {
    CLEAN: ("as it was recorded", lambda x, *_: x),
    "babble": ("babble, {} dB", noise.babble),
    "noise": ("white noise, {} dB", lambda x, snr, _, rng: noise.white(x, snr, rng)),
    "telephone": ("telephone, 300 to 3400 Hz", lambda x, *_: channel.telephone(x)),
    "reverb": (
        "reverberation, {} ms",
        lambda x, ms, _, rng: room.reverberant(x, ms / 1000, rng),
    ),
    "quieter": ("{} dB quieter", lambda x, db, *_: channel.gain(x, -db)),
    "louder": ("{} dB louder", lambda x, db, *_: channel.gain(x, db)),
    "mp3": ("MP3, {} kbit/s", lambda x, kbps, *_: channel.mp3(x, kbps)),
    "speed": ("speed, {}\u00a0%", lambda x, percent, *_: channel.speed(x, percent / 100)),
}


def words(condition: str) -> str:
    """As a reader knows it."""
    kind, _, strength = condition.partition("-")
    return _KINDS[kind][0].format(strength)


def perturbed(
    condition: str, samples: Samples, voices: Sequence[Samples], random: np.random.Generator
) -> Samples:
    """A clip under a condition: 16 kHz samples in, 16 kHz samples out, which may pass full scale.

    ``voices`` are those that babble.
    """
    kind, _, strength = condition.partition("-")
    return _KINDS[kind][1](samples, int(strength or 0), voices, random)
