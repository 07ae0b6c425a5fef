"""From clips to embeddings: shards of finished clips in the scratch store, then one file.

A shard holds about a minute of audio and is itself an embeddings file, whose clips are named by
the checksum of their audio. A killed run so loses the shard in work, a new clip is embedded alone,
and the published file, assembled in blocks of its own, does not depend on how its shards came
about.
"""

import io
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from itertools import repeat
from pathlib import Path

import numpy as np

from pipeline.audio.flac import read_clip
from pipeline.audio.formats import Samples
from pipeline.corpora.manifest import Clip
from pipeline.embeddings import shards
from pipeline.embeddings.batches import GROUP_S, in_order, read_ahead
from pipeline.embeddings.reader import Embedding, Embeddings, Header, Precision, Run, digest
from pipeline.embeddings.shards import Packed
from pipeline.embeddings.writer import write
from pipeline.encoders import frontends, layout
from pipeline.encoders.frontends import Frontend
from pipeline.encoders.layers import Layers, expand
from pipeline.ground import files, locks, stage
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import load
from pipeline.ground.progress import say, track
from pipeline.ground.provenance import Provenance
from pipeline.work import pool
from pipeline.work.cluster import likeness, remote
from pipeline.work.cluster.luggage import unpacked
from pipeline.work.cluster.worker import Task

SHARD_S = 60.0
OPEN_SHARDS = 8
# What is copied of a GPU's shards at a time, unless a single clip is more.
BLOCK_BYTES = 2**25
# Threads that wait for a GPU, write and flush: each has a shard in memory.
WRITERS = 2

Read = Callable[[Sequence[Clip]], Iterator[Embedding]]
Embed = Callable[[Sequence[Samples]], Sequence[Embedding]]
Begin = Callable[[Sequence[Samples]], Callable[[], Sequence[Run]]]


@dataclass(frozen=True)
class Kept:
    """What is kept of every clip: layers as frames, layers as means, and how exactly."""

    frames: Layers
    means: Layers
    precision: Precision
    dtype: str


@dataclass(frozen=True)
class Job:
    """One encoder's embeddings: what computes them, and the store of its finished clips.

    Where there is ``begin``, a GPU computes; where there is ``task``, workers of a cluster do.
    """

    embed: Embed
    header: Header
    store: Path
    workers: int
    begin: Begin | None = None
    task: Task | None = None

    @classmethod
    def prepare(cls, folder: Path, name: str, kept: Kept) -> "Job":
        """Load the encoder of ``folder``, called ``name``.

        Raises:
            PipelineError: The encoder is missing or damaged, or has no such layer.
        """
        runtime = stage.runtime()
        embed, begin, made, computer = embedder(folder, name, kept, runtime.device)
        header = replace(made, numerics_version=load("numerics_version", int))
        # The number of threads is in the last bits of a matrix product.
        inputs = [files.read_json(folder / layout.CONFIG), computer, runtime.threads]
        store = locks.scratch(stage.resume_key("extract", asdict(header), inputs))
        task = None
        if runtime.engine == "ray":
            task = _task(folder, name, kept, header, "cuda" if begin else "cpu")
        return cls(embed, header, store, runtime.workers, begin, task)

    def run(self, target: Path, clips: Sequence[Clip], made: Provenance | None = None) -> None:
        """Embed what the store lacks of ``clips``, showing progress, and publish ``target``.

        The file carries how it was ``made``.

        Raises:
            PipelineError: There is no clip, one is damaged or not the manifest's, a value is not
                finite, or an input changed meanwhile.
        """
        if not clips:
            raise PipelineError(f"{target}: no clip to embed, check corpora and split")
        self.complete(target.stem, clips)
        try:
            self._publish(target, clips, made)
        except PipelineError:
            # Of a shard only what leads to its frames was read until now.
            self.finished(to_the_end=True)
            if not self.shards(clips):
                raise
            self.complete(target.stem, clips)
            self._publish(target, clips, made)

    def complete(self, name: str, clips: Sequence[Clip]) -> None:
        """Embed what the store lacks of ``clips``, called ``name``, showing progress.

        Raises:
            PipelineError: As `run`.
        """
        left = self.shards(clips)
        total_s = sum(clip.duration_s for shard in left for clip in shard)
        seconds = _seconds(self._embedded(left))
        for _ in track(seconds, f"embed {name}", int(total_s), "s of audio"):
            pass

    def shards(self, clips: Sequence[Clip]) -> list[list[Clip]]:
        """What is left to do: shards of clips whose audio the store lacks.

        They are cut from all clips and not from what is left: a GPU computes a shard together, in
        a resumed run as in an undisturbed one.
        """
        different = list({clip.sha256: clip for clip in clips}.values())
        lengths_s = [clip.duration_s for clip in different]
        done = self.finished()
        cut = in_order(range(len(different)), lengths_s, GROUP_S if self.begin else SHARD_S)
        shards = ([different[index] for index in group] for group in cut)
        left = ([clip for clip in shard if clip.sha256 not in done] for shard in shards)
        return [shard for shard in left if shard]

    def finished(self, to_the_end: bool = False) -> dict[str, Path]:
        """The shard that holds a clip, by the checksum of the clip's audio.

        A damaged shard is removed; ``to_the_end`` reads every frame to find one.
        """
        found: dict[str, Path] = {}
        for path in sorted(self.store.glob("*.h5")):
            try:
                with Embeddings(path) as shard:
                    for clip in shard.clips if to_the_end else ():
                        shard.embedding(clip)
                    found.update(dict.fromkeys(shard.clips, path))
            except PipelineError:
                say(f"{path}: damaged, its clips are embedded anew")
                path.unlink()
        return found

    def assemble(self, target: Path, clips: Sequence[Clip], provenance: str) -> None:
        """Write the file of ``clips``, all finished (not atomic)."""
        shard_of = self.finished()
        opened = lru_cache(OPEN_SHARDS)(Embeddings)
        where = [(shard_of[clip.sha256], clip.sha256) for clip in clips]
        lengths = [opened(path).length(key) for path, key in where]
        header = replace(self.header, clips_sha256=digest(clips), provenance=provenance)
        # How chunks lie in the file follows from the blocks: they know nothing of shards, and on
        # a CPU, where no time is lost, they are the clips, as they always were.
        budget = BLOCK_BYTES if self.begin else 0
        sizes = [header.clip_bytes(length) for length in lengths]
        with write(target, header, [clip.clip for clip in clips], sum(lengths)) as writer:
            for block in in_order(range(len(clips)), sizes, budget):
                rows = (
                    (path, opened(path).row(key)) for path, key in map(where.__getitem__, block)
                )
                runs = [opened(path).run(row, count) for path, row, count in _neighbours(rows)]
                writer.extend(Run.join(runs), [clips[index].clip for index in block])

    def reader(self) -> Read:
        """What reads the embeddings of clips, all finished, in their order."""
        shard_of, opened = self.finished(), lru_cache(OPEN_SHARDS)(Embeddings)
        return lambda clips: (opened(shard_of[c.sha256]).embedding(c.sha256) for c in clips)

    def discard(self) -> None:
        """Remove the shards."""
        shutil.rmtree(self.store)

    def _publish(self, target: Path, clips: Sequence[Clip], made: Provenance | None) -> None:
        with files.publish(target) as staged:
            self.assemble(staged, clips, made.text() if made else "")
            if made:
                made.require_same()

    def _embedded(self, left: Sequence[Sequence[Clip]]) -> Iterator[float]:
        """Embed shards; yield the seconds of audio of each as it is done."""
        if self.task:
            made = remote.spread(self.task, left, shards.pack)
            return (self._keep(*pair) for pair in zip(left, made, strict=True))
        if self.begin:
            return self._overlapped(left, self.begin)
        return pool.forked(self._shard, left, self.workers)

    def _shard(self, clips: Sequence[Clip]) -> float:
        found = self.embed([_read(clip) for clip in clips])
        return self._write(clips, [Run.of(one) for one in found])

    def _overlapped(self, left: Sequence[Sequence[Clip]], begin: Begin) -> Iterator[float]:
        """As `_shard`, but decoding shards ahead, on all cores, and writing others behind."""
        with ThreadPoolExecutor(pool.cores()) as cores:
            waves = read_ahead(lambda shard: list(cores.map(_read, shard)), left, 2)
            begun = ((shard, begin(found)) for shard, found in zip(left, waves, strict=True))
            yield from read_ahead(lambda pair: self._write(pair[0], pair[1]()), begun, WRITERS)

    def _write(self, clips: Sequence[Clip], found: Sequence[Run]) -> float:
        """Make embedded clips a new shard of the store; return their seconds."""
        target, staged = self._places(clips)
        named = [(clip.clip, clip.sha256) for clip in clips]
        shards.write(staged, self.header, named, found)
        return self._placed(clips, staged, target)

    def _keep(self, clips: Sequence[Clip], shard: bytes) -> float:
        """As `_write`, of what a worker of a cluster has written."""
        target, staged = self._places(clips)
        staged.write_bytes(shard)
        return self._placed(clips, staged, target)

    def _places(self, clips: Sequence[Clip]) -> tuple[Path, Path]:
        target = self.store / f"{files.digest([clip.sha256 for clip in clips])}.h5"
        return target, target.with_suffix(f".{os.getpid()}")

    def _placed(self, clips: Sequence[Clip], staged: Path, target: Path) -> float:
        files.replace(staged, target)
        return sum(clip.duration_s for clip in clips)


def embedder(
    folder: Path, name: str, kept: Kept, device: str
) -> tuple[Embed, Begin | None, Header, str]:
    """What embeds with the encoder of ``folder``, and what it computes, and on which computer.

    ``device`` is as ``runtime.device``. A GPU can begin with clips before it is waited for. The
    header has no ``numerics_version``, which is the project's.

    Raises:
        PipelineError: The encoder is missing or damaged, or has no such layer.
    """
    settings = files.read_json(folder / layout.CONFIG)
    frontend = frontends.parse(settings)
    if frontend:
        header = _header(folder, name, kept, 0, frontend.width, frontend.hop_samples)
        return partial(_with_frontend, frontend, header), None, header, likeness.cpu()
    from pipeline.work.device import wake

    wake(device)
    from pipeline.embeddings.embedder import Embedder

    blocks, width = layout.shape(folder)
    header = _header(folder, name, kept, blocks, width, layout.HOP_SAMPLES)
    embed = Embedder(folder, header, device)
    begin = embed.begin if embed.device.type == "cuda" else None
    return embed, begin, header, likeness.computer(embed.device)


def _task(folder: Path, name: str, kept: Kept, header: Header, device: str) -> Task:
    """The work of `Job` for workers that see neither the encoder nor the clips."""
    arguments = unpacked(folder), name, kept, header, device
    return Task(_shards_of, arguments, (folder,), device if header.blocks else "")


def _header(
    folder: Path, name: str, kept: Kept, blocks: int, width: int, hop_samples: int
) -> Header:
    return Header(
        encoder=name,
        revision=layout.Source.read(folder).revision,
        weights_sha256=layout.weights_sha256(folder),
        blocks=blocks,
        width=width,
        hop_samples=hop_samples,
        frames=expand(kept.frames, blocks),
        means=expand(kept.means, blocks),
        precision=kept.precision,
        dtype=kept.dtype,
        numerics_version=0,
    )


def _with_frontend(frontend: Frontend, header: Header, waves: Sequence[Samples]) -> list[Embedding]:
    found = []
    for wave in waves:
        frames = frontend.frames(wave)
        mean = frames.mean(0, dtype=np.float64).astype(np.float32)
        kept = dict.fromkeys(header.frames, frames), dict.fromkeys(header.means, mean)
        found.append(Embedding(len(frames), *kept))
    return found


def _neighbours(places: Iterable[tuple[Path, int]]) -> list[tuple[Path, int, int]]:
    """Join (shard, row) that follow one another to (shard, first row, how many)."""
    found: list[tuple[Path, int, int]] = []
    for path, row in places:
        before, first, count = found[-1] if found else (None, 0, 0)
        if before == path and row == first + count:
            found[-1] = (path, first, count + 1)
        else:
            found.append((path, row, 1))
    return found


def _shards_of(
    folder: Path, name: str, kept: Kept, header: Header, device: str
) -> Callable[[Sequence[Packed]], bytes]:
    """What makes a shard of packed clips, on a worker of a cluster."""
    embed, begin, _, _ = embedder(folder, name, kept, device)

    def shard(packed: Sequence[Packed]) -> bytes:
        waves = [shards.wave(one) for one in packed]
        found = begin(waves)() if begin else [Run.of(one) for one in embed(waves)]
        memory = io.BytesIO()
        shards.write(memory, header, [(one.clip, one.sha256) for one in packed], found)
        return memory.getvalue()

    return shard


def _read(clip: Clip) -> Samples:
    return read_clip(clip.file, clip.sha256)


def _seconds(done: Iterator[float]) -> Iterator[None]:
    """One item per whole second of audio done, so that progress counts seconds."""
    before_s = after_s = 0.0
    for length_s in done:
        before_s, after_s = after_s, after_s + length_s
        yield from repeat(None, int(after_s) - int(before_s))
