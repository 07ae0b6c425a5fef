"""Two protocols in one run: what is scored, what stands beside it, and the gap."""

import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from pipeline.cli.preset import merged
from pipeline.corpora import manifest
from pipeline.corpora.manifest import EMOTIONS
from pipeline.ground import params
from pipeline.ground.errors import PipelineError
from pipeline.report import corpora_table
from pipeline.scoring import protocols
from pipeline.splits import folds
from stages import evaluate, split
from tests.results import TASK, Study, plant, plant_classifier

SHARED = 2  # the number of the fold whose speakers are on both sides


def change(overlay: str) -> None:
    """Merge settings into params.yaml."""
    path = Path("params.yaml")
    path.write_text(merged(path.read_text("utf-8"), overlay), "utf-8")
    params.read.cache_clear()


def activate(numbers: list[int]) -> None:
    systems = "methods: {cached: [], pretrained: [full], retrained: []}"
    off = "adapted: []\nnetworks: {features: []}\nprobe: {features: []}"
    change(f"{systems}\nfolds: {numbers}\n{off}")


@pytest.fixture
def both(project: Path) -> Path:
    """Two folds by speaker, tested with little skill, and a shared one, tested with much."""
    plant(project, Study(folds=2))
    made = folds.read_all()
    third = Study(folds=3)
    tested = {c.clip: third.fold(c) == SHARED or i % 5 == 0 for i, c in enumerate(third.clips())}
    made.append({clip: "test" if is_test else "train" for clip, is_test in tested.items()})
    folds.write(folds.FOLDS, made)
    plant_classifier(project, Study(folds=2), "pretrained/full", 1.0)
    plant_classifier(project, third, "pretrained/other", 3.0)
    shared = project / "artifacts/classifiers/emotion/pretrained/other/2"
    shared.rename(project / "artifacts/classifiers/emotion/pretrained/full/2")
    activate([0, 1, SHARED])
    return project


def uar(project: Path, numbers: list[int]) -> float:
    truth, guess = [], []
    for number in numbers:
        path = project / f"artifacts/classifiers/emotion/pretrained/full/{number}/predictions.csv"
        with path.open() as file:
            for row in csv.DictReader(file):
                if row["role"] == "test":
                    truth.append(row["label"])
                    guess.append(max(EMOTIONS, key=lambda name: float(row[name])))
    return float(balanced_accuracy_score(truth, guess))


def test_the_report_has_both_and_the_gap(both: Path) -> None:
    evaluate.main()
    found = json.loads((both / "results/scores.json").read_text())
    apart = found["emotion"]["pretrained"]["full"]["uar"]
    beside = found["speaker_shared"]["emotion"]["pretrained"]["full"]["uar"]
    assert found["protocol"]["speaker_independent"]
    assert found["protocol"]["folds"] == [0, 1]
    assert apart == pytest.approx(uar(both, [0, 1]), abs=1e-4)
    assert beside == pytest.approx(uar(both, [SHARED]), abs=1e-4)
    page = (both / "results/report.html").read_text()
    section = page[page.rindex("The same speakers on both sides") :]
    row = section[section.index("pretrained full") :].split("</tr>")[0]
    assert [f"{value:.3f}" in row for value in (apart, beside, beside - apart)] == [True] * 3


def test_without_shared_folds_there_is_no_such_section(both: Path) -> None:
    activate([0, 1])
    evaluate.main()
    assert "speaker_shared" not in json.loads((both / "results/scores.json").read_text())
    assert "The same speakers on both sides" not in (both / "results/report.html").read_text()


def test_a_system_with_shared_folds_alone_is_scored_by_them() -> None:
    study = Study(folds=2)
    made = [{c.clip: "test" if i % 2 else "train" for i, c in enumerate(study.clips())}]
    systems = {("emotion", "pretrained", "full"): [0]}
    assert protocols.separate(systems, study.clips(), made) == (systems, {})


def test_split_adds_random_folds_after_the_others(project: Path) -> None:
    plant(project, Study())
    change("split: {count: 4, shared: 2}")
    split.main()
    made = folds.read_all()
    clips = {clip.clip: clip for clip in Study().clips()}
    assert len(made) == 6
    tested = [{clip for clip, role in fold.items() if role == "test"} for fold in made]
    assert not tested[4] & tested[5]
    for number, fold in enumerate(made):
        share = len(tested[number]) / len(clips)
        speakers = [
            {clips[clip].speaker for clip, role in fold.items() if (role == "test") == test}
            for test in (True, False)
        ]
        assert bool(speakers[0] & speakers[1]) == (number >= 4)
        assert number < 4 or share == pytest.approx(0.2, abs=0.01)


def test_random_folds_need_no_shared_ones(project: Path) -> None:
    change("split: {by: random, dev: random, shared: 1}")
    with pytest.raises(PipelineError, match="shared 0 where by is random"):
        split.main()


def test_the_corpora_table_counts_utterances_once(project: Path) -> None:
    study = Study(("demo", "tess"))
    plant(project, study)
    clips = [clip for clip in study.clips() if clip.corpus == "demo"]
    copies = [
        replace(clip, clip=f"{clip.clip}~noise", augmented_from=clip.clip) for clip in clips[:9]
    ]
    second = [replace(clip, clip=f"{clip.clip}#2") for clip in clips[:5]]
    manifest.write(manifest.CLIPS / "demo" / "manifest.csv", [*clips, *copies, *second])
    corpora_table.write(project, manifest.read(["demo", "tess"]), TASK)
    with (project / "corpora.csv").open() as file:
        rows = [tuple(row) for row in csv.reader(file)]
    expected = Counter((clip.emotion, clip.corpus) for clip in study.clips())
    assert rows[0] == ("emotion", "source", "count")
    assert rows[1:] == [(*key, str(count)) for key, count in sorted(expected.items())]
    assert np.sum([int(row[2]) for row in rows[1:]]) == 256
