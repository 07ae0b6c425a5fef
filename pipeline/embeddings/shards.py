"""Shards of finished clips, written on disk or in memory, and clips packed for who sees no disk.

A shard is an embeddings file whose clips are named by the checksum of their audio. `extraction`
keeps them in the scratch store; a worker of a cluster makes one of packed clips and sends it back.
"""

import io
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from pipeline.audio.flac import clip_of
from pipeline.audio.formats import Samples
from pipeline.corpora.manifest import Clip
from pipeline.embeddings import writer
from pipeline.embeddings.reader import Header, Run
from pipeline.ground import files


class Packed(NamedTuple):
    """A clip's file by name, its id, the checksum of its audio, and what the file holds."""

    file: Path
    clip: str
    sha256: str
    content: bytes


def pack(clips: Sequence[Clip]) -> list[Packed]:
    """Clips with their audio.

    Raises:
        PipelineError: A file is missing.
    """
    for clip in clips:
        files.require_file(clip.file)
    return [Packed(clip.file, clip.clip, clip.sha256, clip.file.read_bytes()) for clip in clips]


def wave(packed: Packed) -> Samples:
    """A packed clip's samples; errors are those of `flac.read_clip`."""
    return clip_of(packed.file, io.BytesIO(packed.content), packed.sha256)


def write(
    place: Path | io.BytesIO,
    header: Header,
    clips: Sequence[tuple[str, str]],
    found: Sequence[Run],
) -> None:
    """Write embedded clips, of each its id and the checksum that is its name in the shard.

    Raises:
        PipelineError: A value is not finite; the clip is called by its id.
    """
    frames, names = sum(sum(run.lengths) for run in found), iter([name for name, _ in clips])
    with writer.write(place, header, [key for _, key in clips], frames) as shard:
        for run in found:
            shard.extend(run, list(islice(names, len(run.lengths))))
