"""The conditions under which test clips are judged again, by name: a kind, then its strength.

``babble-20`` and ``noise-20`` have a signal-to-noise ratio of 20 dB, ``reverb-300`` a reverberation
time of 300 ms, ``quieter-20`` and ``louder-12`` another level in dB, ``mp3-32`` 32 kbit/s,
``speed-90`` nine tenths of the speed; ``telephone`` has no strength.
"""

from typing import Annotated

from pydantic import Field

CLEAN = "clean"  # what is compared with: no condition of params.yaml

Condition = Annotated[
    str,
    Field(
        pattern=r"^(telephone|(babble|noise|quieter|louder)-\d{1,2}|reverb-[1-9]\d{2,3}"
        r"|mp3-(16|24|32|40|48|56|64|80|96|112|128|144|160)|speed-([5-9]\d|1\d\d|200))$"
    ),
]

_WORDS = {
    CLEAN: "as recorded",
    "babble": "babble, {} dB",
    "noise": "white noise, {} dB",
    "telephone": "telephone",
    "reverb": "reverberation, {} ms",
    "quieter": "{} dB quieter",
    "louder": "{} dB louder",
    "mp3": "MP3, {} kbit/s",
    "speed": "speed, {}\u00a0%",
}


def parts(condition: str) -> tuple[str, int]:
    """Its kind and its strength, 0 where it has none."""
    kind, _, strength = condition.partition("-")
    return kind, int(strength or 0)


def words(condition: str) -> str:
    """As a reader knows it."""
    kind, strength = parts(condition)
    return _WORDS[kind].format(strength)
