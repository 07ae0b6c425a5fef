"""cross: what is trained on one corpus and tested on another, and how it is scored."""

import csv
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from pipeline.cli import main as cli
from pipeline.cli.preset import merged
from pipeline.corpora import manifest
from pipeline.ground import params
from pipeline.ground.errors import PipelineError
from pipeline.scoring import crossed
from pipeline.scoring.scores import Bootstrap
from stages import cross, encoder, evaluate, extract
from tests.results import Study, plant, plant_crossed
from tests.speech import tone_clips

CORPORA = ["bells", "tones"]
OVERLAY = """
corpora: [bells, tones]
task: {emotion: {classes: [angry, sad], merge: {}}}
extract: {dtype: float32}
cross: {features: [fbank], methods: [linear, frozen], folds: 3}
finetune:
  methods:
    linear: {pooling: mean, c: [0.1]}
    frozen: {training: {epochs: 3}}
"""


@pytest.fixture
def two(project: Path) -> dict[str, list[manifest.Clip]]:
    """Two corpora of tones, five speakers each, with filterbanks."""
    text = merged(Path("params.yaml").read_text("utf-8"), OVERLAY)
    Path("params.yaml").write_text(text, "utf-8")
    params.read.cache_clear()
    encoder.main("fbank")
    found = {}
    for seed, name in enumerate(CORPORA):
        found[name] = [example.clip for example in tone_clips(30, corpus=name, seed=seed)]
        manifest.write(manifest.CLIPS / name / "manifest.csv", found[name])
        extract.main("fbank", name)
    return found


def predictions(method: str, train: str, test: str, fold: int = 0) -> list[dict[str, str]]:
    path = Path(f"artifacts/cross/fbank/{method}/{train}/{test}/{fold}/predictions.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def means(corpus: str) -> dict[str, Any]:
    with h5py.File(f"artifacts/embeddings/fbank/{corpus}.h5") as file:
        return dict(zip(file["clip"].asstr()[:], file["mean_last"][:], strict=True))


def test_linear_is_scikit_learn_fitted_on_the_other_corpus_alone(
    two: dict[str, list[manifest.Clip]],
) -> None:
    cross.main("fbank", "linear")
    cached = means("bells")
    # One speaker is dev, which chooses among one strength.
    for away in sorted({clip.speaker for clip in two["bells"]}):
        kept = [clip for clip in two["bells"] if clip.speaker != away]
        inputs = np.stack([cached[clip.clip] for clip in kept])
        centre, width = inputs.mean(0), inputs.std(0)
        peer = LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000)
        peer.fit((inputs - centre) / width, [clip.emotion == "sad" for clip in kept])
        tested = means("tones")
        expected = {
            clip.utterance: peer.predict_log_proba((tested[clip.clip] - centre)[None] / width)[0]
            for clip in two["tones"]
        }
        rows = predictions("linear", "bells", "tones")
        assert {row["role"] for row in rows} == {"test"}
        assert {row["utterance"] for row in rows} == set(expected)
        gaps = [
            abs(float(row[name]) - expected[row["utterance"]][label])
            for row in rows
            for label, name in enumerate(("angry", "sad"))
        ]
        if max(gaps) < 1e-3:
            return
    pytest.fail("no choice of a dev speaker of the training corpus explains the predictions")


@pytest.mark.parametrize("method", ["linear", "frozen"])
def test_what_is_tested_changes_nothing_that_is_fitted(
    two: dict[str, list[manifest.Clip]], method: str
) -> None:
    cross.main("fbank", method)  # type: ignore[arg-type]
    before = predictions(method, "bells", "tones")
    altered = {clip.clip for clip in two["tones"][::2]}
    with h5py.File("artifacts/embeddings/fbank/tones.h5", "r+") as file:
        names, values = file["clip"].asstr()[:], file["mean_last"][:]
        values[[name in altered for name in names]] += 50.0
        file["mean_last"][:] = values
    cross.main("fbank", method)  # type: ignore[arg-type]
    after = predictions(method, "bells", "tones")
    changed = {old["utterance"] for old, new in zip(before, after, strict=True) if old != new}
    assert changed == {clip.utterance for clip in two["tones"][::2]}


def test_the_scores_are_those_of_the_predictions(
    two: dict[str, list[manifest.Clip]], tmp_path: Path
) -> None:
    cross.main("fbank", "linear")
    (matrix,) = crossed.score([("fbank", "linear")], CORPORA, Bootstrap(200, 0))
    assert set(matrix.cells) == {(x, y) for x in CORPORA for y in CORPORA}
    for (train, test), cell in matrix.cells.items():
        rows = [
            row
            for n in range(3 if train == test else 1)
            for row in predictions("linear", train, test, n)
        ]
        guess = ["angry" if float(r["angry"]) > float(r["sad"]) else "sad" for r in rows]
        expected = balanced_accuracy_score([row["label"] for row in rows], guess)
        assert cell["uar"] == pytest.approx(expected, abs=1e-4)
        assert cell["speakers"] == len({row["speaker"] for row in rows}) == 5
        assert cell["uar_low"] <= cell["uar"] <= cell["uar_high"]
        assert cell["classes"] == ["angry", "sad"]
        assert cell["utterances"] == 30
    crossed.write_tables(tmp_path, [matrix])
    with (tmp_path / "cross-fbank-linear.csv").open(encoding="utf-8", newline="") as file:
        table = {(row["train"], row["test"]): row for row in csv.DictReader(file)}
    assert table["bells", "tones"]["uar"] == str(matrix.cells["bells", "tones"]["uar"])
    assert table["bells", "tones"]["classes"] == "angry sad"
    short = crossed.headline(json.loads(json.dumps(matrix.nested)))
    assert short["bells>tones"] == matrix.cells["bells", "tones"]["uar"]


ONLY_CROSSED = """
corpora: [demo, emodb]
features: [fbank]
adapted: []
methods: {cached: [], pretrained: [], retrained: []}
tasks: {cached: [], pretrained: [], retrained: []}
cross: {features: [fbank], methods: [linear]}
networks: {features: []}
probe: {tasks: [], features: []}
crnn: {tasks: [], features: []}
"""
SKILLS = {("demo", "demo"): 3.0, ("demo", "emodb"): 0.5, ("emodb", "demo"): 1.0}


def test_the_matrix_is_published_drawn_and_shown(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Study(corpora=("demo", "emodb"))
    plant(project, study)
    plant_crossed(project, study, "fbank/linear", SKILLS)
    plant_crossed(project, study, "mfcc/linear", SKILLS)  # no longer active
    text = merged(Path("params.yaml").read_text("utf-8"), ONLY_CROSSED)
    Path("params.yaml").write_text(text, "utf-8")
    params.read.cache_clear()
    evaluate.main()
    short = json.loads(Path("results/metrics.json").read_text("utf-8"))["cross"]
    assert list(short) == ["fbank"]
    uar = short["fbank"]["linear"]
    assert list(uar) == ["demo>demo", "demo>emodb", "emodb>demo"]
    assert uar["demo>demo"] > uar["emodb>demo"] > uar["demo>emodb"] > 1 / 8
    whole = json.loads(Path("results/scores.json").read_text("utf-8"))["cross"]["fbank"]["linear"]
    assert whole["demo"]["emodb"]["speakers"] == 8
    assert whole["demo"]["emodb"]["ece_calibrated"] == "uncalibrated"
    assert "emodb" not in whole["emodb"]
    page = Path("results/report.html").read_text("utf-8")
    assert '<h2 id="across-corpora">' in page
    assert "angry, calm, disgust, fear, happy, neutral, sad, surprise" in page
    assert Path("results/plots/cross-fbank-linear.png").is_file()
    assert Path("results/tables/cross-fbank-linear.csv").is_file()
    with pytest.raises(SystemExit):
        cli.app(["show"])
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["emodb", f"{uar['emodb>demo']:.3f}", "-"] in shown


def test_pairs_of_other_corpora_are_refused(project: Path) -> None:
    study = Study(corpora=("demo", "emodb"))
    plant_crossed(project, study, "fbank/linear", SKILLS)
    with pytest.raises(PipelineError, match=r"has demo and emodb, run `dvc repro cross`"):
        crossed.score([("fbank", "linear")], ["demo"], Bootstrap(200, 0))
