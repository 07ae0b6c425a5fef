"""What a training stage leaves to be read: predictions on dev and test, and its learning curve."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.ground import files
from pipeline.splits.targets import Task, Votes
from pipeline.splits.task import Example
from pipeline.splits.valued import UNDECIDED, Valued

HISTORY = ("epoch", "train_loss", "dev_loss", "dev_uar")  # of a single model that classifies
KNOWN = ("utterance", "corpus", "speaker", "role")


def history_of(task: Task) -> tuple[str, ...]:
    """The columns of a learning curve."""
    return (*HISTORY[:3], "dev_ccc") if isinstance(task, Valued) else HISTORY


def write(
    folder: Path,
    task: Task,
    found: Sequence[Example],
    outputs: npt.NDArray[np.floating],
) -> None:
    """Write ``predictions.csv``; an utterance's outputs are the mean of its clips'.

    Classes have a label and the logits of each class, votes between them their true shares
    (``true_<class>``) and no label where they are undecided. Values have of each ``true_<name>``,
    empty where it is unknown, and ``predicted_<name>``. Utterances whose shares are masked are in
    ``submission.csv``, too, in the form of the ComParE 2023 challenge's own label files.

    Args:
        folder: The classifier's (not atomic: the caller publishes it).
        task: Names the last columns.
        found: The examples of dev and test.
        outputs: (examples, outputs), in the order of ``found``.
    """
    rows: dict[str, list[int]] = {}
    for row, example in enumerate(found):
        rows.setdefault(example.clip.utterance, []).append(row)
    table, masked = [], []
    for utterance in sorted(rows):
        first = found[rows[utterance][0]]
        means = _texts(outputs[rows[utterance]].mean(0))
        clip, truth = first.clip, _texts(first.values)
        if isinstance(task, Valued):
            told = [text for pair in zip(truth, means, strict=True) for text in pair]
            masked += [] if any(truth) else [[Path(clip.source).name, *means]]
        else:
            label = "" if first.label == UNDECIDED else task.classes[first.label]
            told = [label, *truth, *means]
        table.append([utterance, clip.corpus, clip.speaker, first.role, *told])
    files.write_csv(folder / "predictions.csv", _header(task), table)
    if masked:
        header = ["filename", *(name.capitalize() for name in task.names)]
        files.write_csv(folder / "submission.csv", header, masked)


def _texts(values: Iterable[float]) -> list[str]:
    return ["" if math.isnan(value) else f"{value:.6g}" for value in values]


def _header(task: Task) -> list[str]:
    if isinstance(task, Valued):
        return [*KNOWN, *(f"{kind}_{n}" for n in task.names for kind in ("true", "predicted"))]
    truth = [f"true_{name}" for name in task.names] if isinstance(task, Votes) else []
    return [*KNOWN, "label", *truth, *task.names]


def write_history(
    folder: Path, history: Sequence[Mapping[str, float]], columns: Sequence[str] = HISTORY
) -> None:
    """Write ``history.csv``, the learning curve: one row per epoch, none for linear.

    A cell is empty where a row does not have its column.
    """
    rows = [[f"{row[c]:.6g}" if c in row else "" for c in columns] for row in history]
    files.write_csv(folder / "history.csv", columns, rows)
