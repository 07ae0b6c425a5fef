"""What `runtime.ahead` saves: a matrix of fine-tunings in turn, and on two workers of a Ray.

    python -m benchmarks.ahead            # four runs of about a minute each
    python -m benchmarks.ahead --demo     # the demo, whole: its runs take seconds

Both are `dvc repro` in clones of this project that have run all that lies before. Ray starts anew
in each stage's first run, which counts. That the outputs have the same bytes is checked.
"""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.preset import merged
from pipeline.ground.code import ROOT
from pipeline.ground.files import SUMS

FOUR = """
encoders: [tiny]
features: []
folds: [0, 1, 2, 3]
adapted: []
methods: {cached: [], pretrained: [full], retrained: []}
networks: {features: []}
probe: {features: []}
split: {by: speaker, count: 4}
"""
AHEAD = "runtime: {engine: ray, ahead: true, workers: 2}"


def main(
    demo: Annotated[bool, typer.Option("--demo", help="The whole demo instead.")] = False,
    epochs: Annotated[int, typer.Option(help="Of each of the four runs.")] = 30,
) -> None:
    """Print the seconds of both, and their ratio."""
    overlay = "{}" if demo else f"{FOUR}finetune: {{training: {{epochs: {epochs}}}}}"
    target = "evaluate" if demo else "finetune"
    print(f"load average {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        turn, beside = Path(name, "turn"), Path(name, "beside")
        subprocess.run(["git", "clone", "-q", str(ROOT), str(turn)], check=True)
        _change(turn, overlay)
        _repro(turn, "split", "encoder", "extract")
        shutil.copytree(turn, beside, symlinks=True)
        _change(beside, AHEAD)
        serial_s, ahead_s = _repro(turn, target), _repro(beside, target)
        alike = _sums(turn) == _sums(beside)
    print(f"in turn {serial_s:.0f} s, ahead {ahead_s:.0f} s: {ahead_s / serial_s:.2f} of it")
    print(f"outputs {'have the same bytes' if alike else 'DIFFER'}")


def _change(folder: Path, overlay: str) -> None:
    path = folder / "params.yaml"
    path.write_text(merged(path.read_text("utf-8"), overlay), "utf-8")


def _repro(folder: Path, *targets: str) -> float:
    began = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    with (folder.parent / "said").open("ab") as said:
        subprocess.run(
            ["dvc", "repro", *targets], cwd=folder, env=environment, check=True, stdout=said,
            stderr=said,
        )  # fmt: skip
    return time.perf_counter() - began


def _sums(folder: Path) -> dict[str, str]:
    """The checksums of each output of the stages that `ahead` knows."""
    made = (folder / "artifacts").rglob(SUMS)
    return {str(path.relative_to(folder)): path.read_text("utf-8") for path in made}


if __name__ == "__main__":
    typer.run(main)
