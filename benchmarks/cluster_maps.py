"""Two nodes of Ray, of one CPU each, against two processes that are forked: embeddings of speech.

    python -m benchmarks.cluster_maps data/raw/ravdess data/raw/emodb

Both write the same shards of ten minutes of audio, in turns; the median of the rounds stands. Until
the second worker is ready is start-up, told apart with what was embedded meanwhile. CPU seconds are
of all processes that compute, so that other work on the machine does not count.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from pipeline.ground.stage import set_threads

set_threads(1)

from benchmarks.extract import BASE, TINY, project  # noqa: E402
from benchmarks.speech import length_s, recordings  # noqa: E402
from pipeline.cli.preset import merged  # noqa: E402
from pipeline.corpora.manifest import Clip  # noqa: E402
from pipeline.embeddings.extraction import Job, Kept  # noqa: E402
from pipeline.encoders import encoder  # noqa: E402
from pipeline.ground import params  # noqa: E402
from pipeline.work.cluster import remote, session  # noqa: E402

KEPT = Kept([-3], [], "fp32", "float16")


def main(
    corpora: Annotated[list[Path], typer.Argument(help="Folders of recordings.")],
    seconds: Annotated[float, typer.Option(help="Of audio.")] = 600.0,
    rounds: Annotated[int, typer.Option(help="Of each.")] = 3,
    size: Annotated[str, typer.Option(help="base, or tiny: all the way and little work.")] = "base",
) -> None:
    """Print what Ray reaches of the rate of forked processes, by the clock and by CPU time."""
    waves = recordings(corpora, seconds)
    print(f"{len(waves)} clips, {length_s(waves):.0f} s, load average {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name, _cluster() as address:
        folder = Path(name)
        encoder.save(encoder.initialize(BASE if size == "base" else TINY, 0), folder)
        taken: dict[str, list[tuple[float, float]]] = {"processes": [], "ray": []}
        for _ in range(rounds):
            for engine, times in taken.items():
                with project(waves) as clips:
                    _set(engine, address)
                    times.append(_run(Job.prepare(folder, "benchmark", KEPT), clips))
    wall, cpu = (
        {engine: statistics.median(pair[at] for pair in times) for engine, times in taken.items()}
        for at in (0, 1)
    )
    for what, found in (("by the clock", wall), ("in CPU time", cpu)):
        rates = ", ".join(f"{engine} {length_s(waves) / s:.1f} s/s" for engine, s in found.items())
        print(f"{what}: {rates}, {found['processes'] / found['ray']:.2f} of processes")


def _set(engine: str, address: str) -> None:
    path = Path("params.yaml")
    overlay = f"runtime: {{engine: {engine}, address: '{address}', workers: 2, device: cpu}}"
    path.write_text(merged(path.read_text("utf-8"), overlay), "utf-8")
    params.read.cache_clear()


def _run(job: Job, clips: Sequence[Clip]) -> tuple[float, float]:
    """Seconds and CPU seconds from when both workers are ready on."""
    job = replace(job, workers=2)
    began = started = time.perf_counter()
    early_s = done_s = 0.0
    before = _cpu_s()
    seen = dict(before)  # ones that ended keep what was last seen

    def say(message: str) -> None:
        nonlocal started, early_s, before, seen
        if message.startswith("ray: 2 workers"):
            started, early_s, before = time.perf_counter(), done_s, _cpu_s()
            seen = dict(before)

    remote.say = say  # type: ignore[attr-defined]
    left = job.shards(clips)
    for shard_s in job._embedded(left):
        done_s += shard_s
        seen.update(_cpu_s())  # while its processes are there
    whole_s = done_s / (done_s - early_s)
    wall_s, cpu_s = time.perf_counter() - started, sum(seen.values()) - sum(before.values())
    if job.task:
        print(f"ray: start-up {started - began:.1f} s, in which {early_s:.0f} s were embedded")
    return wall_s * whole_s, cpu_s * whole_s


def _cpu_s() -> dict[int, float]:
    """CPU seconds of this process and of each below it."""
    stat = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        stat[int(path.parent.name)] = int(fields[1]), sum(map(int, fields[11:13]))
    own = {os.getpid()}
    while more := {pid for pid, (parent, _) in stat.items() if parent in own} - own:
        own |= more
    ticks_s = os.sysconf("SC_CLK_TCK")
    return {pid: stat[pid][1] / ticks_s for pid in own if pid in stat}


@contextmanager
def _cluster() -> Iterator[str]:
    """The address of two nodes of one CPU, and a head that computes nothing."""
    os.environ.update(session.SILENT)
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


if __name__ == "__main__":
    typer.run(main)
