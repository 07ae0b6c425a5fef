"""`ser curve` on real experiments with planted skills, and its last doubling by hand."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from pipeline.corpora.manifest import EMOTIONS
from pipeline.scoring import comparison, evaluation
from pipeline.scoring.believe import curves
from pipeline.scoring.believe.curves import Point
from pipeline.scoring.scores import Bootstrap, Predictions
from tests.cli.test_commands import linear_only, repository_of, run, shell
from tests.results import Study, plant, plant_classifier

PIPELINE = """
stages:
  split:
    cmd: >-
      python -c "import shutil; shutil.copytree('given/${split.train_share}-${seed}',
      'artifacts', dirs_exist_ok=True)"
    outs: [artifacts/folds.csv, artifacts/classifiers, artifacts/clips]
"""
STUDY = Study()


def give(project: Path, share: float, seed: int, skill: float) -> None:
    """The predictions of a run on so many of the training speakers, and its folds."""
    made = project / "planted"
    plant(made, STUDY)
    plant_classifier(made, STUDY, "fbank/linear", skill, seed + int(100 * share))
    path = made / "artifacts/folds.csv"
    kept = {c.clip for c in STUDY.clips() if int(c.speaker.split("/")[1]) % 4 < 4 * share}
    lines = [
        line
        for line in path.read_text().splitlines()
        if not line.endswith(",train") or line.split(",")[1] in kept
    ]
    path.write_text("\n".join(lines) + "\n")
    shutil.move(made / "artifacts", project / "given" / f"{share}-{seed}")


def test_experiments_become_a_curve_and_the_last_doubling_is_told(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    linear_only(project)
    runs = [(0.25, 1, 0.3), (0.5, 1, 0.8), (1.0, 1, 2.5), (0.5, 2, 0.8)]
    for share, seed, skill in runs:
        give(project, share, seed, skill)
    repository_of(project, PIPELINE, "/given/", "/planted/")
    shell(project, "git", "add", ".")
    shell(project, "git", "commit", "-qm", "start")
    assert run("curve") == 1
    error = capsys.readouterr().err
    assert "run `dvc exp run --queue -S split.train_share=" in error and error.count("\n") == 1
    for share, seed, _ in runs:
        options = ("-S", f"split.train_share={share}", "-S", f"seed={seed}")
        shell(project, "dvc", "exp", "run", "-q", *options)
    assert run("curve") == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines() if line.strip().startswith(("2", "5", "1"))]
    assert [row[:3] for row in rows] == [
        ["25%", "1.0", "1"], ["50%", "2.0", "2"], ["100%", "4.0", "1"]
    ]  # fmt: skip
    uars = [float(row[3]) for row in rows]
    assert uars == sorted(uars) and all(row[5] == "to" for row in rows)
    (line,) = [line for line in out.splitlines() if line.startswith("From ")]
    assert line.startswith("From 2.0 to 4.0 training speakers UAR changed by +0.")
    assert "8 test speakers): more speakers help" in line


def point(root: Path, speakers: float, skill: float, seeds: int = 1) -> Point:
    told: list[Predictions] = []
    for seed in range(seeds):
        place = root / f"{speakers}-{seed}"
        plant_classifier(place, STUDY, "a/b", skill, seed)
        folder = place / "artifacts/classifiers/emotion/a/b"
        paths = {fold: folder / str(fold) / "predictions.csv" for fold in (0, 1)}
        told.append(evaluation.read(paths, "emotion", EMOTIONS, "emotion"))
    return Point(speakers / 16, speakers, told, {})


def test_the_gain_is_between_what_is_nearest_to_a_doubling(tmp_path: Path) -> None:
    found = [point(tmp_path, n, n / 8, seeds=1 + (n == 7)) for n in (2, 4, 7, 12, 16)]
    drawn = Bootstrap(100, 1)
    last = curves.last_doubling(found, len(EMOTIONS), drawn)
    assert (last.before.speakers, last.after.speakers) == (7, 16)
    uars = [
        np.mean([balanced_accuracy_score(t.truth, t.guess.argmax(1)) for t in one.told])
        for one in (last.before, last.after)
    ]
    assert last.gain == pytest.approx(uars[1] - uars[0], abs=1e-9)
    peer = comparison.compare(last.before.told, last.after.told, len(EMOTIONS), drawn)
    assert (last.interval, last.p) == (peer.interval, peer.p)
