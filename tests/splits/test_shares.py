"""Who takes part in emotion share, and the files that hold its predictions."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.corpora.manifest import Clip
from pipeline.ground.errors import PipelineError
from pipeline.splits import shares
from pipeline.splits.shares import Sample
from tests.ratings import clip_of

ROLES = ["train", "train", "dev", "test", "test", "test"]


def clip(name: str, corpus: str = "hume", segment: str = "", **values: float) -> Clip:
    return replace(clip_of(name, corpus, segment), shares=values)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_masked_test_clips_take_part_and_unrated_ones_do_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clips = [
        clip("0", anger=0.5, interest=0.25),
        clip("1"),
        clip("2", interest=1.0),
        clip("3"),
        clip("4", corpus="ravdess"),
        clip("5", anger=0.0, surprise=1.0),
        clip("6", anger=0.5),
    ]
    roles = dict(zip([c.clip for c in clips], ROLES, strict=False))
    rated = shares.rated(clips, roles)
    assert rated.emotions == ["anger", "interest"]
    assert [s.clip.clip for s in rated.samples] == ["hume/0", "hume/2", "hume/3", "hume/5"]
    expected = [[0.5, 0.25], [np.nan, 1.0], [np.nan, np.nan], [0.0, np.nan]]
    np.testing.assert_array_equal([s.shares for s in rated.samples], expected)
    assert "2 of 6 clips have no shares" in capsys.readouterr().err
    assert [s.clip.clip for s in rated.of_role("dev", "test")] == ["hume/2", "hume/3", "hume/5"]


def test_a_corpus_without_shares_is_an_error_that_names_the_key() -> None:
    with pytest.raises(PipelineError, match=r"share\.features"):
        shares.rated([clip("0"), clip("1", anger=0.5)], {"hume/0": "train", "hume/1": "test"})


def test_the_digest_follows_shares_and_roles() -> None:
    digests = {
        shares.rated(
            [clip("0", anger=0.5), clip("1", anger=value)], {"hume/0": "train", "hume/1": role}
        ).digest()
        for value, role in ((0.5, "test"), (0.25, "test"), (0.5, "dev"))
    }
    assert len(digests) == 3


def test_an_utterance_is_the_mean_of_its_clips(tmp_path: Path) -> None:
    found = [
        Sample(clip("7", segment="#1"), "test", (0.5, 0.1)),
        Sample(clip("2"), "dev", (0.0, np.nan)),
        Sample(clip("7", segment="#2"), "test", (0.5, 0.1)),
    ]
    predicted = np.array([[0.25, 0.5], [0.125, 0.75], [0.5, 0.25]], np.float32)
    shares.write(tmp_path, ["anger", "interest"], found, predicted)
    first, second = table(tmp_path / "predictions.csv")
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
        Sample(clip("1"), "test", tuple(np.linspace(0, 1, 9))),
        Sample(clip("2"), "test", masked),
        Sample(clip("3"), "test", masked),
    ]
    emotions = (
        "anger boredom calmness concentration determination excitement interest sadness tiredness"
    )
    predicted = (np.arange(27).reshape(3, 9) / 32).astype(np.float32)
    shares.write(tmp_path, emotions.split(), found, predicted)
    lines = (tmp_path / "submission.csv").read_text("utf-8").splitlines()
    assert lines[0] == (
        "filename,Anger,Boredom,Calmness,Concentration,Determination,Excitement,Interest,"
        "Sadness,Tiredness"
    )
    assert lines[1].split(",") == ["2.wav", *(f"{n / 32:g}" for n in range(9, 18))]
    assert [line.split(",")[0] for line in lines[2:]] == ["3.wav"]
    rows = table(tmp_path / "predictions.csv")
    assert [bool(row["true_sadness"]) for row in rows] == [True, False, False]
