"""``artifacts/folds.csv``: the role of every clip in every fold.

`split` writes it with `write` and proves it with `require_no_leakage`; whatever trains or scores
reads the roles of one fold with `read`.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from pipeline.corpora.manifest import Clip
from pipeline.ground import files
from pipeline.ground.errors import PipelineError

FOLDS = Path("artifacts/folds.csv")
COLUMNS = ["fold", "clip", "role"]
ROLES = ("train", "dev", "test")

# The role of each clip, by clip id.
Fold = dict[str, str]


def read(fold: int, path: Path = FOLDS) -> Fold:
    """The role (train, dev or test) of each clip in one fold.

    Raises:
        PipelineError: The file is missing or damaged, or has no such fold.
    """
    return of(read_all(path), fold)


def of(made: Sequence[Fold], fold: int) -> Fold:
    """One of the folds.

    Raises:
        PipelineError: There is no such fold.
    """
    if not 0 <= fold < len(made):
        raise PipelineError(
            f"params.yaml: folds names fold {fold}, but split made {len(made)} (numbered from "
            "0), remove it or raise split.count"
        )
    return made[fold]


def read_all(path: Path = FOLDS) -> list[Fold]:
    """Every fold, in order.

    Raises:
        PipelineError: The file is missing or damaged.
    """
    try:
        rows = list(csv.reader(io.StringIO(files.read_text(path), newline="")))
        folds: list[Fold] = [{} for _ in range(1 + max(int(row[0]) for row in rows[1:]))]
        for fold, clip, role in rows[1:]:
            folds[int(fold)][clip] = ROLES[ROLES.index(role)]
    except (ValueError, IndexError, csv.Error):
        raise PipelineError(f"{path}: damaged, delete it and run `dvc repro split`") from None
    return folds


def write(path: Path, folds: Sequence[Fold]) -> None:
    """Write the folds, each sorted by clip (not atomic: the caller publishes the file)."""
    rows = ((number, *pair) for number, fold in enumerate(folds) for pair in sorted(fold.items()))
    files.write_csv(path, COLUMNS, rows)


def require_no_leakage(
    folds: Sequence[Fold], clips: Iterable[Clip], shared: bool, sharing: Collection[str] = ()
) -> None:
    """Check that roles share no speaker (unless ``shared``), no audio and no augmented child.

    Speakers of the corpora ``sharing`` may be on both sides, too.

    Raises:
        PipelineError: They do; the fold and both clips are named.
    """
    known = {clip.clip: clip for clip in clips}
    for number, fold in enumerate(folds):
        held: dict[object, Clip] = {}
        for clip in (known[name] for name in fold):
            if clip.augmented_from and not fold[clip.clip] == fold[clip.augmented_from] == "train":
                raise PipelineError(_leak(number, fold, clip, known[clip.augmented_from], "audio"))
            keys: dict[object, str] = {clip.sha256: "audio"}
            if clip.speaker and not shared and clip.corpus not in sharing:
                keys[clip.corpus, clip.speaker] = "speaker"
            for key, what in keys.items():
                other = held.setdefault(key, clip)
                if fold[other.clip] != fold[clip.clip]:
                    raise PipelineError(_leak(number, fold, other, clip, what))


def audio_in_several_corpora(clips: Iterable[Clip]) -> list[list[str]]:
    """Groups of clips of more than one corpus whose samples are equal, each sorted."""
    groups: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        groups[clip.sha256].append(clip)
    found = [group for group in groups.values() if len({clip.corpus for clip in group}) > 1]
    return sorted(sorted(clip.clip for clip in group) for group in found)


def _leak(number: int, fold: Fold, one: Clip, other: Clip, what: str) -> str:
    roles = f"{fold[one.clip]} and {fold[other.clip]}"
    return (
        f"fold {number}: {one.clip} ({one.source}) and {other.clip} ({other.source}) share their "
        f"{what} but are {roles}, remove one of them or mend split"
    )
