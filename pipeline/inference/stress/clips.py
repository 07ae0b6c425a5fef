"""Test clips under a condition, made once: FLAC files in the scratch store, as clips of their own.

Each is drawn from (seed, clip, condition) alone, so that its bytes depend neither on the order nor
on the workers. What babbles are clips of the same corpus by speakers other than the clip's own.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeAlias

import numpy as np

from pipeline.audio.flac import as_stored, encode_flac, read_clip
from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples
from pipeline.audio.perturb.conditions import CLEAN
from pipeline.audio.perturb.perturbing import perturbed
from pipeline.corpora.manifest import Clip
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.ground.progress import track
from pipeline.work import pool
from pipeline.work.seeds import derive

# What babbles is read again and again.
KEPT_VOICES = 256

COUNTED = "conditions.json"  # what `counted` returns
FULL_SCALE = 32767 / 32768  # the largest sample of 16 bits

# Of a stressed clip: the checksum of its audio, its samples, how many of them are at full scale.
Row: TypeAlias = tuple[str, int, int]
# Corpus and speaker, and the clips of who is known.
Speakers: TypeAlias = Mapping[str, Mapping[str, Sequence[Clip]]]


@dataclass(frozen=True)
class Stressed:
    """A clip under a condition, its samples and how many of them are at full scale."""

    clip: Clip
    samples: int
    clipped: int


@dataclass(frozen=True)
class Studio:
    """Where clips are made: who may babble and how many at once, the project's seed, the workers.

    ``store`` is a folder of the scratch store for these speakers, voices and this seed.
    """

    speakers: Speakers
    voices: int
    seed: int
    store: Path
    workers: int

    def under(self, condition: str, clips: Sequence[Clip]) -> dict[str, Stressed]:
        """``clips`` under a condition, or `CLEAN`, by id; those in the store are read there.

        Raises:
            PipelineError: A clip is missing or damaged, or nobody else is there to babble.
        """
        listed = self.store / f"{condition}.json"
        known: dict[str, Row] = files.read_json(listed) if listed.is_file() else {}
        made = pool.forked(partial(self._row, condition, known), clips, self.workers)
        rows = list(track(made, condition, len(clips), "clips"))
        named = dict(zip([clip.clip for clip in clips], rows, strict=True))
        files.write_json(listed, known | named)
        return {clip.clip: self._stressed(condition, clip, named[clip.clip]) for clip in clips}

    def _stressed(self, condition: str, clip: Clip, row: Row) -> Stressed:
        sha256, samples, clipped = row
        if condition != CLEAN:
            root, length_s = self.store / condition, samples / SAMPLE_RATE_HZ
            clip = replace(clip, root=root, sha256=sha256, duration_s=length_s)
        return Stressed(clip, samples, clipped)

    def _row(self, condition: str, known: Mapping[str, Row], clip: Clip) -> Row:
        """What is told of the clip, which is made where it is not there."""
        if row := known.get(clip.clip):
            with suppress(PipelineError):
                read_clip(self._stressed(condition, clip, row).clip.file, row[0])
                return row
        random = np.random.default_rng(derive(self.seed, "stress", clip.clip, condition))
        voices = self._babble(clip, random) if condition.startswith("babble") else []
        found = as_stored(perturbed(condition, read_clip(clip.file, clip.sha256), voices, random))
        encoded, sha256 = encode_flac(found)
        if condition != CLEAN:
            path = self.store / condition / clip.corpus / clip.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded)
        return sha256, len(found), int((np.abs(found) >= FULL_SCALE).sum())

    def _babble(self, clip: Clip, random: np.random.Generator) -> list[Samples]:
        """Clips of the corpus's other speakers: of as many of them as there are."""
        known = self.speakers.get(clip.corpus, {})
        others = [name for name in sorted(known) if name != clip.speaker]
        if not others:
            raise PipelineError(
                f"{clip.clip}: nobody else of {clip.corpus} can babble, its speakers are one or "
                "unknown, take babble out of stress.conditions in params.yaml"
            )
        order = random.permutation(len(others))
        names = [others[order[n % len(others)]] for n in range(self.voices)]
        drawn = [known[name][int(random.integers(len(known[name])))] for name in names]
        return [_read(voice.file, voice.sha256) for voice in drawn]


def speakers(clips: Sequence[Clip]) -> Speakers:
    """The clips of each known speaker by corpus, without augmented ones."""
    found: dict[str, dict[str, list[Clip]]] = {}
    for clip in clips:
        if clip.speaker and not clip.augmented_from:
            found.setdefault(clip.corpus, {}).setdefault(clip.speaker, []).append(clip)
    return found


def counted(heard: Mapping[str, Mapping[str, Stressed]]) -> dict[str, dict[str, int]]:
    """Of the clips under each condition, the samples, and those at full scale."""
    return {
        condition: {
            "samples": sum(one.samples for one in made.values()),
            "clipped": sum(one.clipped for one in made.values()),
        }
        for condition, made in heard.items()
    }


_read = lru_cache(KEPT_VOICES)(read_clip)
