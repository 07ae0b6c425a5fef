"""predictions.csv: one row per utterance, its logits the mean of its clips'."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.splits.targets import Emotion
from pipeline.splits.task import Example
from pipeline.splits.valued import UNDECIDED, Shares
from pipeline.training import predictions
from tests.ratings import clip_of
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


def share_of(name: str, role: str, *shares: float, segment: str = "") -> Example:
    clip = clip_of(name, "hume", segment)
    return Example(clip, role, UNDECIDED, None, shares)


def test_an_unknown_share_is_an_empty_cell(tmp_path: Path) -> None:
    found = [
        share_of("7", "test", 0.5, 0.1, segment="#1"),
        share_of("2", "dev", 0.0, np.nan),
        share_of("7", "test", 0.5, 0.1, segment="#2"),
    ]
    predicted = np.array([[0.25, 0.5], [0.125, 0.75], [0.5, 0.25]], np.float32)
    task = Shares(target="shares", emotions=["anger", "interest"], loss="mse")
    predictions.write(tmp_path, task, found, predicted)
    first, second = csv.DictReader((tmp_path / "predictions.csv").open())
    assert list(first) == [
        *("utterance", "corpus", "speaker", "role"),
        *("true_anger", "predicted_anger", "true_interest", "predicted_interest"),
    ]
    assert list(first.values()) == ["hume/2", "hume", "hume/s2", "dev", "0", "0.125", "", "0.75"]
    assert list(second.values())[3:] == ["test", "0.5", "0.375", "0.1", "0.375"]
    assert not (tmp_path / "submission.csv").exists()


def test_masked_utterances_make_a_submission_in_the_challenge_s_form(tmp_path: Path) -> None:
    masked = (np.nan,) * 9
    found = [
        share_of("1", "test", *np.linspace(0, 1, 9)),
        share_of("2", "test", *masked),
        share_of("3", "test", *masked),
    ]
    emotions = (
        "anger boredom calmness concentration determination excitement interest sadness tiredness"
    )
    predicted = (np.arange(27).reshape(3, 9) / 32).astype(np.float32)
    task = Shares(target="shares", emotions=emotions.split(), loss="mse")
    predictions.write(tmp_path, task, found, predicted)
    lines = (tmp_path / "submission.csv").read_text("utf-8").splitlines()
    assert lines[0] == (
        "filename,Anger,Boredom,Calmness,Concentration,Determination,Excitement,Interest,"
        "Sadness,Tiredness"
    )
    assert lines[1].split(",") == ["2.wav", *(f"{n / 32:g}" for n in range(9, 18))]
    assert [line.split(",")[0] for line in lines[2:]] == ["3.wav"]
    rows = list(csv.DictReader((tmp_path / "predictions.csv").open()))
    assert [bool(row["true_sadness"]) for row in rows] == [True, False, False]
