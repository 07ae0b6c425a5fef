"""What a training stage leaves to be read: predictions on dev and test, and its learning curve."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.ground import files
from pipeline.splits.task import Example

HISTORY = ("epoch", "train_loss", "dev_loss", "dev_uar")  # of a single model that classifies


def write(
    folder: Path,
    classes: Sequence[str],
    found: Sequence[Example],
    logits: npt.NDArray[np.floating],
) -> None:
    """Write ``predictions.csv``; an utterance's logits are the mean of its clips'.

    Args:
        folder: The classifier's (not atomic: the caller publishes it).
        classes: The task's classes, which name the last columns.
        found: The examples of dev and test.
        logits: (examples, classes), in the order of ``found``.
    """
    rows: dict[str, list[int]] = {}
    for row, example in enumerate(found):
        rows.setdefault(example.clip.utterance, []).append(row)
    table = []
    for utterance in sorted(rows):
        first = found[rows[utterance][0]]
        means = [f"{value:.6g}" for value in logits[rows[utterance]].mean(0)]
        clip = first.clip
        known = [utterance, clip.corpus, clip.speaker, first.role, classes[first.label]]
        table.append([*known, *means])
    header = ["utterance", "corpus", "speaker", "role", "label", *classes]
    files.write_csv(folder / "predictions.csv", header, table)


def write_history(
    folder: Path, history: Sequence[Mapping[str, float]], columns: Sequence[str] = HISTORY
) -> None:
    """Write ``history.csv``, the learning curve: one row per epoch, none for linear.

    A cell is empty where a row does not have its column.
    """
    rows = [[f"{row[c]:.6g}" if c in row else "" for c in columns] for row in history]
    files.write_csv(folder / "history.csv", columns, rows)
