"""What a card makes of this project, against the card itself and against its peers, in one run.

    python -m benchmarks.gpu data/raw                 # or `make gpu FOLDER=...`
    python -m benchmarks.gpu data/raw --budget 150    # the heads of each part
    python -m benchmarks.gpu data/raw --only kmeans

Real speech cut to IEMOCAP's lengths, random weights, which cost the same. A part begins with what
matters most and ends, between two rows, when its share of the budget is spent; each row is kept in
benchmarks/results/gpu-<card>.json at once, of which `benchmarks.gpu_table` makes the tables in
docs/gpu.md. A share of the card is one of the rate measured here of 8192^3 products in the same
precision. Without a card the parts that need none run, on the CPU and in small, and the others say
so. It needs no DVC.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import chdir
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.ground.stage import set_threads

set_threads(1)

import torch  # noqa: E402

from benchmarks import extract  # noqa: E402
from benchmarks.gpu_bench import Bench  # noqa: E402
from benchmarks.gpu_parts import NEED_A_CARD, PARTS  # noqa: E402
from benchmarks.gpu_table import RESULTS, Row, table  # noqa: E402
from benchmarks.speech import as_long_as_iemocap, recordings  # noqa: E402
from pipeline.ground.errors import PipelineError  # noqa: E402
from pipeline.ground.files import write_json  # noqa: E402
from pipeline.work.device import select  # noqa: E402

SHAPES = {"base": extract.BASE, "large": extract.LARGE}
# What tells base from large, and little else: where there is no card.
TINY: dict[str, Any] = {
    "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 64, "num_hidden_layers": 4,
    "conv_dim": [32] * 7,
}  # fmt: skip


def bench(device: torch.device, recorded: Path, folder: Path) -> Bench:
    """What is measured: of published size on a card, tiny on a CPU."""
    if device.type == "cuda":
        waves = as_long_as_iemocap(recordings([recorded], 800))
        return Bench(device, folder, waves, SHAPES, 1_000_000, [64, 512, 4096])
    waves = as_long_as_iemocap(recordings([recorded], 12))
    shapes = {name: {**shape, **TINY} for name, shape in SHAPES.items()}
    return Bench(device, folder, waves, shapes, 5_000, [8, 32], 0.01)


def measured(found: Bench, parts: Sequence[str], budget_s: float) -> Iterator[Row]:
    """The rows of each part, as far as its share of the budget goes; a part begun gives one."""
    end = time.monotonic() + budget_s
    for place, part in enumerate(parts):
        now = time.monotonic()
        until = now + (end - now) / (len(parts) - place)
        with tempfile.TemporaryDirectory() as folder, chdir(folder):
            try:
                for row in PARTS[part](found):
                    yield row
                    if time.monotonic() > until:
                        break
            except (RuntimeError, PipelineError) as error:
                print(f"{part}: not finished, {str(error).splitlines()[0]}", file=sys.stderr)


def main(
    folder: Annotated[Path, typer.Argument(help="Recordings are found below it.")],
    budget: Annotated[float, typer.Option(help="Seconds.")] = 420.0,
    only: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(PARTS)}.")] = None,
    results: Annotated[Path, typer.Option(help="Where a card's figures are kept.")] = RESULTS,
) -> None:
    """Measure, print and keep."""
    if unknown := set(only or ()) - set(PARTS):
        raise typer.BadParameter(f"no part {', '.join(unknown)}, they are {', '.join(PARTS)}")
    device = select("auto")
    parts = [part for part in PARTS if part in (only or PARTS)]
    if device.type == "cpu":
        for part in NEED_A_CARD & set(parts):
            print(f"{part}: needs a card, and torch sees none")
        parts = [part for part in parts if part not in NEED_A_CARD]
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    target = results.absolute() / f"gpu-{name.replace(' ', '-')}.json"
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as encoders:
        found = bench(device, folder.absolute(), Path(encoders))
        for row in measured(found, parts, budget):
            rows.append(row)
            print(" | ".join(cell for cell in row.cells() if cell), flush=True)
            if device.type == "cuda":
                target.parent.mkdir(exist_ok=True)
                about = {"card": name, "torch": torch.__version__, "budget_s": budget}
                kept = {"tflops": found.tflops, "rows": [asdict(row) for row in rows]}
                write_json(target, about | kept)
    print(f"\n{os.cpu_count()} cores, {name}\n\n{table(rows)}")


if __name__ == "__main__":
    typer.run(main)
