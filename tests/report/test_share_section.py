"""The report on emotion share has the paper's tables and figure, from the scores."""

import contextlib
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.report import dimensions_section, share_section
from pipeline.scoring import evaluation, scores
from pipeline.scoring.evaluation import Classifier, Run
from pipeline.scoring.scores import Bootstrap
from tests.report.pictures import kept, luminance, words
from tests.results import SHARE, SHARES, TASK, Study, plant_share

# Table 1 of the paper, HuBERT large: architecture 1, architecture 2.
HUBERT_LARGE = {
    "cnn-lstm": (0.450, 0.566, 0.583, 0.538, 0.539, 0.485, 0.427, 0.505, 0.560),
    "cnn-lstm-attention": (0.467, 0.575, 0.587, 0.542, 0.547, 0.476, 0.426, 0.518, 0.557),
}


def regressor(features: str, head: str, rhos: tuple[float, ...]) -> Classifier:
    """One whose scores are given; its predictions are not looked at."""
    known = {"rho": round(float(np.mean(rhos)), 4), "utterances": 9925, "speakers": 1}
    names = np.zeros(0, np.str_)
    nothing = scores.Predictions(names, names, names, np.zeros(0, int), np.zeros(0), np.zeros(0))
    of = {name: {"rho": rho} for name, rho in zip(SHARES, rhos, strict=True)}
    return Classifier("share", features, head, list(SHARES), nothing, {**known, "of": of}, {})


def run_of(found: Sequence[Classifier]) -> Run:
    return Run({"emotion": TASK, "share": SHARE}, [], {}, found, {}, {}, {})


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_published_rhos_give_the_published_percentages(tmp_path: Path) -> None:
    """4.6 % for HuBERT large: the paper takes the better architecture of each emotion."""
    found = [regressor("hubert-large", head, rhos) for head, rhos in HUBERT_LARGE.items()]
    share_section.write(tmp_path, run_of(found))
    first = rows(tmp_path / "share-emotions.csv")
    assert [row["architecture"] for row in first] == [*HUBERT_LARGE, ""]
    for row, rhos in zip(first, HUBERT_LARGE.values(), strict=False):
        assert [float(row[emotion]) for emotion in SHARES] == list(rhos)
    assert first[-1]["features"] == "published baseline"
    assert np.mean([float(first[-1][e]) for e in SHARES]) == pytest.approx(0.500, abs=5e-4)
    second = rows(tmp_path / "share-baseline.csv")
    assert [(r["architecture"], r["100 (a - b) / b"]) for r in second] == [
        ("cnn-lstm", "3.4"),
        ("cnn-lstm-attention", "4.3"),
        ("better of each emotion", "4.6"),
    ]
    assert {row["baseline (b)"] for row in second} == {"0.5"}


def planted(root: Path, heads: list[str], masked: bool = False) -> Run:
    for head in heads:
        plant_share(root, Study(speakers=12), f"fbank/{head}", masked)
    systems = {("share", "fbank", head): [0] for head in heads}
    tests = {0: {clip.utterance for clip in Study(speakers=12).clips()}}
    with contextlib.chdir(root):
        return run_of(
            evaluation.score_classifiers(systems, {"share": SHARE}, Bootstrap(100, 1), tests)
        )


def test_the_section_has_a_figure_of_all_and_a_scatter_of_each(tmp_path: Path) -> None:
    run = planted(tmp_path, ["cnn-lstm", "cnn-lstm-attention"])
    section = dimensions_section.section("share", run, tmp_path)
    assert section is not None
    names = [path.name for path in section.pictures]
    assert names == [
        "share-architectures.png",
        "share-fbank-cnn-lstm.png",
        "share-fbank-cnn-lstm-attention.png",
        "learning-share-fbank-cnn-lstm.png",
        "learning-share-fbank-cnn-lstm-attention.png",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in section.pictures)
    emotions, baseline, means, each, _ = section.tables
    assert [row[1] for row in each.rows[: len(SHARES)]] == list(SHARES)
    assert len(means.rows) == 2
    assert list(emotions.header)[4:13] == list(SHARES)
    mean, low_high = (emotions.rows[0][emotions.header.index(n)] for n in ("mean ρ", "ρ 95\u00a0%"))
    low, high = map(float, str(low_high).split(" to "))
    assert low < float(str(mean)) < high
    assert len(baseline.rows) == 3


def test_masked_truth_gives_rows_without_scores(tmp_path: Path) -> None:
    run = planted(tmp_path, ["cnn-lstm"], True)
    section = dimensions_section.section("share", run, tmp_path)
    assert section is not None
    assert [path.name for path in section.pictures] == ["learning-share-fbank-cnn-lstm.png"]
    assert [section.tables[0].rows[0][n] for n in (2, *range(4, 13))] == [None] * 10
    assert section.tables[1].rows == []


def test_without_regressors_there_is_no_section(tmp_path: Path) -> None:
    assert dimensions_section.section("share", run_of([]), tmp_path) is None
    share_section.write(tmp_path, run_of([]))
    assert not list(tmp_path.iterdir())


def test_the_baseline_is_seen_on_the_bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its line crosses a bar, both dark and white pixels lie."""
    found = kept(monkeypatch)
    rhos = {"cnn-lstm": (0.9,) * 9, "cnn-lstm-attention": (0.8,) * 9}
    shares = [regressor("hubert", head, values) for head, values in rhos.items()]
    share_section.draw(tmp_path / "share-architectures.png", shares)
    figure = found["share-architectures.png"]
    shown = luminance(figure)
    (axes,) = figure.axes
    bars: list[Any] = list(axes.patches)
    for bar in bars:
        left = bar.get_x() + bar.get_width() / 10
        (x, y), (end, _) = axes.transData.transform(
            [(left, 0.5), (left + bar.get_width() * 0.8, 0.5)]
        )
        row = len(shown) - round(y)
        strip = shown[row - 4 : row + 4, round(x) : round(end)]
        assert strip.min() < 0.1 and strip.max() > 0.8
    assert "baseline 0.500 (Hume-Prosody)" in words(figure)
