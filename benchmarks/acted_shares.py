"""A corpus for the share branch where no listener was asked: RAVDESS, rated by its own labels.

Copies the speech of RAVDESS into a new corpus folder with a ``labels.csv``. What it calls shares is
what the actor was told to show and how strongly, no listener's judgement, and the columns say so:
``share_acted_<emotion>`` is 1.0 for a strong and 0.6 for a normal portrayal of the emotion,
``share_acted_neutral`` is the rest, and every other column is 0. With them one can check that the
share branch learns from real speech, on speakers that it never heard: actors 1 to 14 train, 15 to
18 are dev, 19 to 24 test. Figures made from them say nothing about listeners, and compare with no
published ones.

    python -m benchmarks.acted_shares RAVDESS data/raw/acted-shares
    ser preset acted-shares && dvc repro && ser show
"""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from pipeline.corpora.entries import Row
from pipeline.corpora.manifest import EMOTIONS
from pipeline.corpora.parsers.ravdess import CORPUS
from pipeline.ground import files

ROLES = {"train": range(1, 15), "dev": range(15, 19), "test": range(19, 25)}
STRENGTHS = {"strong": 1.0, "normal": 0.6}


def acted(emotion: str, intensity: str) -> dict[str, float]:
    """The made-up shares of one portrayal, by emotion; they sum to 1."""
    shares = dict.fromkeys(EMOTIONS, 0.0) | {"neutral": 1 - STRENGTHS[intensity]}
    return shares | {emotion: 1.0 if emotion == "neutral" else STRENGTHS[intensity]}


def main(
    ravdess: Annotated[Path, typer.Argument(help="The folder of RAVDESS, Actor_* within.")],
    folder: Annotated[Path, typer.Argument(help="The corpus to make; must not exist.")],
) -> None:
    """Copy the speech files and write labels.csv beside them."""
    rows = [entry for entry in CORPUS.parse(ravdess) if isinstance(entry, Row)]
    if not rows:
        raise typer.BadParameter(f"{ravdess} holds no speech of RAVDESS")
    if folder.exists():
        raise typer.BadParameter(f"{folder} is there, remove it or name another")
    with files.publish(folder) as staged:
        staged.mkdir()
        for row in rows:
            shutil.copyfile(ravdess / row.source, staged / Path(row.source).name)
        names = [f"share_acted_{emotion}" for emotion in EMOTIONS]
        header = ["path", "emotion", "speaker", "gender", "intensity", "split", *names]
        files.write_csv(staged / "labels.csv", header, [_label(row) for row in rows])


def _label(row: Row) -> list[object]:
    known = [Path(row.source).name, row.emotion, row.speaker, row.gender, row.intensity]
    role = next(role for role, actors in ROLES.items() if int(row.speaker) in actors)
    return [*known, role, *acted(row.emotion, row.intensity).values()]


if __name__ == "__main__":
    typer.run(main)
