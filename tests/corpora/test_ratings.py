"""The audit of ratings: ranges, raters, agreement."""

from dataclasses import replace

import pytest

from pipeline.corpora import ratings
from pipeline.corpora.entries import Row

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
    assert ratings.report([ROW], {"arousal": (1, 5)}) == {"dimensions": {}, "votes": {}}
