"""What a classifier answered on test, and what it answers to the same utterances anew."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.corpora.manifest import Clip
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.inference.judge import Floats

FILE = "predictions.csv"

Rows = Sequence[Mapping[str, str]]


def tested(
    folder: Path, clips: Sequence[Clip], roles: Mapping[str, str]
) -> tuple[Rows, list[Clip]]:
    """The rows of the test utterances of the classifier in ``folder``, and their clips.

    Args:
        folder: Its output for one fold.
        clips: All clips.
        roles: Those of the fold.

    Raises:
        PipelineError: An utterance has no test clip: the classifier is of other folds.
    """
    path = folder / FILE
    rows = [row for row in files.read_csv(path) if row.get("role") == "test"]
    names = {row["utterance"] for row in rows}
    own = [c for c in clips if c.utterance in names and roles.get(c.clip) == "test"]
    if strange := names - {clip.utterance for clip in own}:
        raise PipelineError(f"{path}: {min(strange)} is not tested in this fold, run `dvc repro`")
    if not rows:
        raise PipelineError(f"{path}: no test utterance, mend split or task in params.yaml")
    return rows, own


def write(
    folder: Path, rows: Rows, clips: Sequence[Clip], columns: Sequence[str], outputs: Floats
) -> None:
    """Write ``predictions.csv``: the rows, but with the mean of these outputs over an utterance.

    Args:
        folder: An existing one (not atomic: the caller publishes it).
        rows: As `tested` returns them.
        clips: Their clips.
        columns: Of the rows, those that hold outputs.
        outputs: (clips, columns).
    """
    places: dict[str, list[int]] = {}
    for place, clip in enumerate(clips):
        places.setdefault(clip.utterance, []).append(place)
    table = []
    for row in rows:
        means = np.asarray(outputs)[places[row["utterance"]]].mean(0)
        told = dict(zip(columns, (f"{value:.6g}" for value in means), strict=True))
        table.append(list((dict(row) | told).values()))
    files.write_csv(folder / FILE, list(rows[0]), table)
