"""A million hours of speech on paper: ``python -m benchmarks.million_hours --hours 1000000``.

What one encoder's embeddings of so much speech would take, from rates that were measured, and where
this project would stop holding. Nothing is run. Prices and the network are assumptions: give yours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import typer

# Measured: docs/gpu.md, one H200, HuBERT base in fp16 to block -3.
EMBEDDED_S_PER_S = 20_600.0
ASSIGNED_FLOP_PER_S = 41e12  # k-means at 512 centroids
# The same card with 16 CPU cores, from FLAC to HDF5, before it wrote in slices.
TO_A_FILE_S_PER_S = 7 * 3600 / 45
# Measured on one core of a 2-core virtual machine: 16 kHz FLAC of EmoDB and RAVDESS; a row of
# manifest.csv, and what it takes in memory when a stage has read it (tracemalloc); hashlib's MD5,
# by which DVC knows an output.
FLAC_BYTES_PER_S = 9_300.0
ROW_BYTES = 223.0
ROW_MEMORY_BYTES = 1_390.0
MD5_BYTES_PER_S = 730e6
# Of the encoder and of this project.
FRAMES_PER_S, WIDTH, LAYERS = 50, 768, 13
CENTROIDS = 64 + 512 + 4096
SHARD_S = 60.0


@dataclass(frozen=True)
class Case:
    """How much speech, in clips of what length, and what is paid and had."""

    hours: float
    clip_s: float
    gpu_hour: float
    tb_month: float
    network_gbit_per_s: float
    memory_gb: float

    @property
    def seconds(self) -> float:
        """Seconds of speech."""
        return 3600 * self.hours


def rows(case: Case) -> Iterator[tuple[str, str]]:
    """Each quantity and its value."""
    seconds, clips = case.seconds, case.seconds / case.clip_s
    frame_bytes = FRAMES_PER_S * WIDTH * 2  # a second of one layer in float16
    mean_bytes = LAYERS * WIDTH * 4 / case.clip_s  # a second of every layer's means in float32
    link = case.network_gbit_per_s * 1e9 / 8
    card_hours, slow_hours = (seconds / r / 3600 for r in (EMBEDDED_S_PER_S, TO_A_FILE_S_PER_S))
    flop = seconds * FRAMES_PER_S * 2 * WIDTH * CENTROIDS
    stored = {
        "clips as FLAC": FLAC_BYTES_PER_S * seconds,
        "frames of one layer, float16": frame_bytes * seconds,
        f"frames of all {LAYERS} layers": LAYERS * frame_bytes * seconds,
        f"means of all {LAYERS} layers, float32": mean_bytes * seconds,
    }
    yield f"clips of {case.clip_s:g} s", f"{clips / 1e6:,.0f} million"
    for name, size in stored.items():
        price = size / 1e12 * case.tb_month
        yield name, f"{size / 1e12:,.1f} TB, {price:,.0f} $ a month"
    yield "shards of a minute, as in the scratch store", f"{seconds / SHARD_S / 1e6:,.0f} million"
    yield "card-hours of the encoder alone", _priced(card_hours, case)
    yield "card-hours from FLAC to HDF5, as last measured", _priced(slow_hours, case)
    yield "card-hours of units at three scales", _priced(flop / ASSIGNED_FLOP_PER_S / 3600, case)
    for name, size in (("one layer's frames", frame_bytes), ("all means", mean_bytes)):
        cards = link / (size * EMBEDDED_S_PER_S)
        yield f"cards until one driver's network is full, {name}", f"{cards:,.1f}"
    yield "manifest.csv", f"{clips * ROW_BYTES / 1e9:,.0f} GB"
    yield "memory of a stage that reads it", f"{clips * ROW_MEMORY_BYTES / 1e9:,.0f} GB"
    held = case.memory_gb * 1e9 / ROW_MEMORY_BYTES * case.clip_s / 3600
    yield f"hours of speech in {case.memory_gb:g} GB of it", f"{held:,.0f}"
    hashed_h = frame_bytes * seconds / MD5_BYTES_PER_S / 3600
    yield "DVC's hash of one layer's frames, one core", f"{hashed_h:,.0f} hours"


def table(case: Case) -> str:
    """The quantities as a table of Markdown."""
    lines = [f"| {case.hours:,.0f} hours of speech | |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows(case))])


def _priced(hours: float, case: Case) -> str:
    return f"{hours:,.0f}, {hours * case.gpu_hour:,.0f} $"


def main(
    hours: Annotated[float, typer.Option(help="Of speech.")] = 1e6,
    clip_s: Annotated[float, typer.Option(help="Seconds of a clip.")] = 5.0,
    gpu_hour: Annotated[float, typer.Option(help="Dollars for an hour of a card.")] = 4.0,
    tb_month: Annotated[float, typer.Option(help="Dollars for a TB of objects a month.")] = 23.0,
    network_gbit_per_s: Annotated[float, typer.Option(help="Of the driver's machine.")] = 25.0,
    memory_gb: Annotated[float, typer.Option(help="Of the machine that runs a stage.")] = 128.0,
) -> None:
    """Print what so much speech would take."""
    typer.echo(table(Case(hours, clip_s, gpu_hour, tb_month, network_gbit_per_s, memory_gb)))


if __name__ == "__main__":
    typer.run(main)
