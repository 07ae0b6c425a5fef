"""predictions.csv: one row per utterance, its logits the mean of its clips'."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.splits.targets import Emotion
from pipeline.training import predictions
from tests.speech import tone_clips


def test_an_utterance_is_the_mean_of_its_clips(project: Path) -> None:
    first, second, third = tone_clips(3)
    segments = [
        replace(
            first, clip=replace(first.clip, clip="tones/u#0", utterance="tones/u"), role="test"
        ),
        replace(
            first, clip=replace(first.clip, clip="tones/u#1", utterance="tones/u"), role="test"
        ),
        replace(third, role="dev"),
    ]
    task = Emotion(target="emotion", classes=["angry", "sad"], merge={})
    logits = np.array([[1.0, 3.0], [2.0, -1.0], [0.25, 0.5]])
    predictions.write(project, task, segments, logits)
    rows = list(csv.DictReader((project / "predictions.csv").open()))
    assert [row["utterance"] for row in rows] == ["tones/002", "tones/u"]
    assert (float(rows[1]["angry"]), float(rows[1]["sad"])) == (1.5, 1.0)
    assert rows[1]["label"] == "angry"
    assert rows[0]["role"] == "dev"
    assert second.clip.clip not in {row["utterance"] for row in rows}


def test_the_learning_curve_leaves_gaps_where_nothing_was_measured(project: Path) -> None:
    predictions.write_history(project, [{"epoch": 1, "train_loss": 0.5}])
    assert (project / "history.csv").read_text() == ("epoch,train_loss,dev_loss,dev_uar\n1,0.5,,\n")


def test_the_history_is_empty_where_a_model_has_stopped(tmp_path: Path) -> None:
    history = [
        {"epoch": 1, "train_loss_anger": 0.5, "dev_loss_anger": 0.25, "train_loss_interest": 0.125},
        {"epoch": 2, "train_loss_interest": 1 / 3},
    ]
    columns = [f"{role}_loss_{name}" for name in ("anger", "interest") for role in ("train", "dev")]
    predictions.write_history(tmp_path, history, ["epoch", *columns])
    assert (tmp_path / "history.csv").read_text("utf-8").splitlines() == [
        "epoch,train_loss_anger,dev_loss_anger,train_loss_interest,dev_loss_interest",
        "1,0.5,0.25,0.125,",
        "2,,,0.333333,",
    ]
