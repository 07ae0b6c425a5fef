"""The authors' own partitions: ``published.csv`` beside a corpus' manifest.

`preprocess` writes it where a corpus has any, known by speaker (`pipeline.corpora`) or given per
utterance; `split` reads it with `pipeline.splits.partition` for ``by: published``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.corpora.entries import UNLABELLED, Corpus, Row
from pipeline.ground import files
from pipeline.ground.errors import PipelineError

FILE = "published.csv"
SHARED = "shared"


def partitions(name: str, corpus: Corpus, rows: Sequence[Row]) -> list[dict[str, str]]:
    """The role of each utterance id in each published fold, none where nothing was published.

    What is unlabelled is left out of the folds.

    Raises:
        PipelineError: Some rows have a role and others have none.
    """
    if all(row.role for row in rows):
        held = (row for row in rows if row.role != UNLABELLED)
        return [{f"{name}/{row.utterance}": row.role for row in held}]
    if any(row.role for row in rows):
        bare = next(row for row in rows if not row.role)
        raise PipelineError(f"{name}: {bare.source} has no split but others have, complete it")
    return [
        {
            f"{name}/{row.utterance}": next(
                (role for role, speakers in fold.items() if row.speaker in speakers), "train"
            )
            for row in rows
        }
        for fold in corpus.folds
    ]


def write(folder: Path, folds: Sequence[Mapping[str, str]], shared: bool = False) -> None:
    """Write ``published.csv`` (fold, utterance, role), or nothing where there are no folds.

    Where roles are known to share speakers a last column says ``shared``.
    """
    if not folds:
        return
    rows = ((number, *pair) for number, fold in enumerate(folds) for pair in sorted(fold.items()))
    mark = [SHARED] if shared else []
    table = ([*row, *mark] for row in rows)
    files.write_csv(folder / FILE, ["fold", "utterance", "role", *mark], table)


def is_shared(folder: Path) -> bool:
    """Whether the roles of a corpus' ``published.csv`` are known to share speakers."""
    return files.read_text(folder / FILE).partition("\n")[0].strip().endswith(f",{SHARED}")
