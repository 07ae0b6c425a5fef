"""Learning curves of what trains now, as plain CSV files outside every output of DVC.

`dvc plots show` draws ``results/live/<artefact>.csv`` (dvc.yaml, .dvc/plots/curves.json) while
`dvc repro` holds its lock. A file is written whole from the progress that checkpoints hold, so that
a resumed curve goes on where it stopped, and one under other parameters begins anew. `evaluate`
draws the finished curves into its pictures, and clears these away. Models that train together, as
the regressors of emotion share, have one curve: their mean.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.ground import files
from pipeline.ground.errors import PipelineError

FOLDER = Path("results/live")
# What dvc.yaml draws; a score that an epoch does not have is an empty cell.
COLUMNS = ("epoch", "train_loss", "dev_loss", "dev_uar", "dev_ccc")
# So many points stand for the unfinished epoch.
PARTS = 10
# Epochs of cached means take milliseconds.
EVERY_S = 1.0


class Curve:
    """The curve of the training that makes ``target``; of none, nothing is written."""

    def __init__(self, target: Path | None = None) -> None:
        self._path = FOLDER / f"{'-'.join(target.parts[1:])}.csv" if target else None
        self._latest_s = float("-inf")

    def write(
        self,
        history: Sequence[Mapping[str, float]],
        steps: Sequence[Sequence[Sequence[float]]] = (),
        planned: int = 1,
        now: bool = False,
    ) -> None:
        """Write the curve so far, unless it was within the last second and need not be ``now``.

        Args:
            history: A row of scores per finished epoch.
            steps: Of each step since, the summed loss and weight of each model.
            planned: How many steps that epoch has.
            now: Whether the curve begins or ends here.
        """
        if self._path is None or (time.monotonic() - self._latest_s < EVERY_S and not now):
            return
        self._latest_s = time.monotonic()
        rows = [*map(_means, history), *_parts(len(history), steps, planned)]
        cells = [[f"{row[c]:.6g}" if c in row else "" for c in COLUMNS] for row in rows]
        # No picture is worth a training run: a full disk stops what must be written, not this.
        with contextlib.suppress(OSError, PipelineError):
            if cells:
                with files.publish(self._path) as staged:
                    files.write_csv(staged, COLUMNS, cells)
            else:
                self._path.unlink(missing_ok=True)


def clear() -> None:
    """Remove all curves; one that is still growing comes back whole."""
    for path in FOLDER.glob("*.csv"):
        path.unlink(missing_ok=True)


def _means(row: Mapping[str, float]) -> dict[str, float]:
    """The mean of each score over the models that have it, as ``dev_loss_anger``."""
    of = {c: [v for name, v in row.items() if f"{name}_".startswith(f"{c}_")] for c in COLUMNS}
    return {column: sum(values) / len(values) for column, values in of.items() if values}


def _parts(
    epochs: int, steps: Sequence[Sequence[Sequence[float]]], planned: int
) -> Iterator[dict[str, float]]:
    """The mean training loss of each part of the unfinished epoch."""
    size = -(-planned // PARTS)
    for first in range(0, len(steps), size):
        part = steps[first : first + size]
        models = [
            [sum(values) for values in zip(*one, strict=True)] for one in zip(*part, strict=True)
        ]
        loss = sum(total / max(weight, 1) for total, weight in models) / len(models)
        yield {"epoch": epochs + (first + len(part)) / planned, "train_loss": loss}
