"""How good a classifier is on dev, which a search goes by; other rows are never looked at."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.metrics import agreement, recalls

MEASURES = {"emotion": "uar", "votes": "uar", "dimensions": "ccc"}


def score(paths: Mapping[int, Path], target: str, names: Sequence[str]) -> float:
    """The mean over folds of the UAR on dev, of votes on the consensus; of dimensions of the CCC.

    Args:
        paths: The ``predictions.csv`` of each fold.
        target: What the task predicts.
        names: Its classes or dimensions.

    Raises:
        PipelineError: A file is missing or damaged, or has no dev utterance.
    """
    return float(np.mean([_of_fold(path, target, names) for path in paths.values()]))


def _of_fold(path: Path, target: str, names: Sequence[str]) -> float:
    rows = [row for row in files.read_csv(path) if row.get("role") == "dev"]
    try:
        if target == "dimensions":
            pairs = [
                np.array([[float(row[f"{kind}_{name}"]) for kind in ("true", "predicted")]
                          for row in rows if row[f"true_{name}"]]).T
                for name in names
            ]  # fmt: skip
            return float(np.nan_to_num([agreement.concordance(*pair) for pair in pairs]).mean())
        known = [row for row in rows if row["label"]]
        truth = np.array([names.index(row["label"]) for row in known])
        guess = np.array([[float(row[name]) for name in names] for row in known]).argmax(1)
        return float(recalls.uar(recalls.confusion(truth, guess, len(names))))
    except (KeyError, TypeError, ValueError):
        told = "damaged, or of another task" if rows else "no dev utterance, set split.dev"
        raise PipelineError(f"{path}: {told}, run it anew") from None
