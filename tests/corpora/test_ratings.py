"""The audit of ratings: ranges, raters, agreement."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.corpora import manifest, ratings
from pipeline.corpora.entries import Row
from pipeline.ground import files
from tests import recordings

ROW = Row("a.wav", "a", "s", "female", "1", "happy")


@pytest.mark.parametrize(
    ("votes", "decided"),
    [
        ({"a": 2, "b": 1}, True),
        ({"a": 2, "b": 2}, False),
        ({"a": 2, "b": 2, "c": 3}, True),
        ({"a": 1}, True),
        ({"a": 0}, False),
        ({}, False),
    ],
)
def test_most_raters_decide(votes: dict[str, float], decided: bool) -> None:
    assert ratings.is_decided(votes) is decided


def test_the_audit_has_ranges_and_agreement() -> None:
    rows = [
        replace(ROW, votes={"a": 4}, dimensions={"arousal": 2.0}),
        replace(ROW, votes={"b": 4}, dimensions={"arousal": 4.0}),
        replace(ROW, votes={"a": 1, "b": 1}, dimensions={"arousal": 9.0}),
        ROW,
    ]
    found = ratings.report(rows, {"arousal": (1, 5)})
    assert found["dimensions"] == {
        "arousal": {"rated": 3, "low": 2.0, "mean": 5.0, "high": 9.0, "scale": [1, 5]}
    }
    # By hand: of 10 paired ratings, 5 of each class, one unit of two disagrees.
    # Observed 2 / (2 - 1) / 10; expected 2 * 5 * 5 / (10 * 9).
    assert found["votes"]["alpha"] == pytest.approx(1 - 0.2 / (50 / 90), abs=1e-4)
    assert (found["votes"]["rated"], found["votes"]["undecided"]) == (3, 1)
    assert found["votes"]["raters"] == [2, 4, 4]
    assert list(ratings.warnings(rows, {"arousal": (1, 5)})) == [
        "arousal beyond 1 to 5: 1, first a.wav"
    ]
    rows = [replace(ROW, votes2={"a": 4}), replace(ROW, votes2={"a": 1, "b": 2}), ROW]
    assert ratings.report(rows, {})["votes2"] == {"rated": 2, "named": [3, 3.5, 4]}
    assert ratings.report([ROW], {"arousal": (1, 5)}) == {"dimensions": {}, "votes": {}}


def test_second_votes_are_columns_and_nothing_else_changes_for_corpora_without(
    tmp_path: Path,
) -> None:
    one = recordings.clip("a", corpus="own", path="a.flac")
    voted = replace(one, votes={"sad": 2.0}, votes2={"calm": 1.0})
    path = tmp_path / "own/manifest.csv"
    path.parent.mkdir()
    manifest.write(path, [voted])
    assert path.read_text("utf-8").splitlines()[0].endswith(",votes_sad,votes2_calm")
    (again,) = manifest.read(["own"], tmp_path)
    assert (again.votes, again.votes2) == ({"sad": 2.0}, {"calm": 1.0})
    assert manifest.digest([voted]) != manifest.digest([replace(voted, votes2={})])
    # As of before there were second votes: what was embedded then is still known.
    told: object = (one.clip, one.sha256, one.speaker, one.gender, one.emotion, {}, {}, {})
    assert manifest.digest([one]) == files.digest([told])
