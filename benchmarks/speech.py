"""Real recordings for benchmarks: as they are, or joined to the lengths of spontaneous dialogue."""

from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.audio.decoding import decode
from pipeline.audio.flac import write_flac
from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples
from pipeline.corpora import manifest
from pipeline.corpora.manifest import Clip
from pipeline.ground.errors import PipelineError

# Utterances of IEMOCAP: mean and deviation, about; the shortest and the longest.
IEMOCAP_S = (4.5, 3.2)
IEMOCAP_RANGE_S = (0.6, 34.1)


def recordings(corpora: Sequence[Path], seconds: float) -> list[Samples]:
    """Recordings drawn from the folders until they last long enough; 16 kHz, (samples,) each.

    Raises:
        PipelineError: The first folder holds none.
    """
    found = [sorted(p for p in c.rglob("*") if p.suffix in (".wav", ".flac")) for c in corpora]
    paths = [path for files in found for path in files]
    if not paths:
        raise PipelineError(f"{corpora[0]}: no .wav or .flac file below it")
    waves: list[Samples] = []
    for place in np.random.default_rng(0).permutation(len(paths)):
        if length_s(waves) >= seconds:
            break
        waves.append(decode(paths[place])[0])
    return waves


def as_long_as_iemocap(waves: Sequence[Samples]) -> list[Samples]:
    """The same speech, joined and cut anew: log-normal lengths with IEMOCAP's mean and deviation.

    Acted corpora are cut evenly, which spares padded batches most of what they waste in dialogue.
    """
    mean, deviation = IEMOCAP_S
    variance = np.log(1 + (deviation / mean) ** 2)
    rng = np.random.default_rng(0)
    speech = np.concatenate(waves)
    cut: list[Samples] = []
    start = 0
    while start < len(speech):
        drawn = rng.lognormal(np.log(mean) - variance / 2, np.sqrt(variance))
        samples = int(np.clip(drawn, *IEMOCAP_RANGE_S) * SAMPLE_RATE_HZ)
        cut.append(speech[start : start + samples])
        start += samples
    return [wave for wave in cut if len(wave) >= IEMOCAP_RANGE_S[0] * SAMPLE_RATE_HZ]


def length_s(waves: Sequence[Samples]) -> float:
    """Seconds of audio."""
    return sum(len(wave) for wave in waves) / SAMPLE_RATE_HZ


def clip_of(number: int, wave: Samples) -> Clip:
    """Write a recording as a clip of the working directory's project."""
    file = manifest.CLIPS / "benchmark" / f"{number}.flac"
    file.parent.mkdir(parents=True, exist_ok=True)
    checksum = write_flac(file, wave)
    name, length_s = f"benchmark/{number:06d}", len(wave) / SAMPLE_RATE_HZ
    return blank(name, corpus="benchmark", path=file.name, duration_s=length_s, sha256=checksum)


def blank(name: str, **known: object) -> Clip:
    """A clip of which nothing is known but this."""
    plain = (f.name for f in fields(Clip) if f.default is f.default_factory is MISSING)
    row: dict[str, Any] = dict.fromkeys(plain, "")
    row |= {"clip": name, "utterance": name, "gender": "unknown", "start_s": 0.0}
    return Clip(**row | known)
