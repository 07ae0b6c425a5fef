"""Corpora against corpora: what the stage `cross` leaves, and the scores of each pair.

A cell is the corpus that was trained on and the corpus that was tested; every test utterance of a
cell comes from a speaker that nothing fitted has heard.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.corpora import manifest
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.scoring import calibrated, scores
from pipeline.scoring.scores import Bootstrap, Scores
from pipeline.splits.pairs import Pair

CROSS = manifest.ARTIFACTS / "cross"
FILE = "pairs.json"
SCORES = ("uar", "uar_low", "uar_high", "war", "f1_macro", "utterances", "speakers")


@dataclass(frozen=True)
class Matrix:
    """One features and method: the scores of each pair of corpora, and the pair's ``classes``.

    A corpus that could not be tested against itself has no such cell.
    """

    features: str
    method: str
    corpora: list[str]
    cells: Mapping[tuple[str, str], Scores]

    @property
    def name(self) -> str:
        """As in file names."""
        return f"cross-{self.features}-{self.method}"

    @property
    def nested(self) -> Scores:
        """The cells by the corpus trained on, then by the one tested."""
        found: Scores = {train: {} for train in self.corpora}
        for (train, test), cell in self.cells.items():
            found[train][test] = cell
        return found


def write(folder: Path, pairs: Sequence[Pair]) -> None:
    """Write ``pairs.json``: which predictions there are, and of which classes."""
    told = [
        {"train": p.train, "test": p.test, "classes": p.task.classes, "folds": len(p.folds)}
        for p in pairs
    ]
    files.write_json(folder / FILE, told)


def score(
    systems: Sequence[tuple[str, str]], corpora: Sequence[str], bootstrap: Bootstrap
) -> list[Matrix]:
    """Read and score every pair of the active corpora.

    Raises:
        PipelineError: A file is missing, damaged, or of other corpora.
    """
    found = []
    for features, method in systems:
        cells = _cells(CROSS / features / method, corpora, bootstrap)
        found.append(Matrix(features, method, list(corpora), cells))
    return found


def write_tables(folder: Path, matrices: Iterable[Matrix]) -> None:
    """Write ``cross-<features>-<method>.csv`` of each, a row for each cell."""
    for matrix in matrices:
        rows = [
            [*pair, *(cell.get(name, "") for name in SCORES), " ".join(cell["classes"])]
            for pair, cell in matrix.cells.items()
        ]
        files.write_csv(folder / f"{matrix.name}.csv", ["train", "test", *SCORES, "classes"], rows)


def headline(nested: Scores) -> dict[str, float]:
    """The UAR of each cell of `Matrix.nested`, by a name that is short in `dvc exp show`."""
    return {
        f"{train}>{test}": cell["uar"]
        for train, cells in nested.items()
        for test, cell in cells.items()
    }


def _cells(
    folder: Path, corpora: Sequence[str], bootstrap: Bootstrap
) -> dict[tuple[str, str], Scores]:
    found = {}
    for pair in files.read_json(folder / FILE):
        train, test = pair["train"], pair["test"]
        if not {train, test} <= set(corpora):
            raise PipelineError(f"{folder}: has {train} and {test}, run `dvc repro cross`")
        place, classes = folder / train / test, pair["classes"]
        paths = {fold: place / str(fold) / "predictions.csv" for fold in range(pair["folds"])}
        if paths:
            tested = scores.read_classifier(paths, classes)
            sure = calibrated.confidence(
                tested, {fold: path.parent for fold, path in paths.items()}
            )
            cell = {**scores.classification(tested, classes, bootstrap), **sure.scores}
            found[train, test] = {**cell, "classes": classes}
    return found
