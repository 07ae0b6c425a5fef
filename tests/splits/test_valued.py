"""Shares as a target: who takes part, and what is unknown."""

import math
from dataclasses import replace

import pytest

from pipeline.corpora.manifest import Clip
from pipeline.ground.errors import PipelineError
from pipeline.splits import scope
from pipeline.splits.task import digest, examples, scale
from pipeline.splits.valued import UNDECIDED, Shares
from tests.ratings import clip_of

ROLES = ["train", "train", "dev", "test", "test", "test"]
SHARES = Shares(target="shares", emotions=["anger", "interest"], loss="mse")


def clip(name: str, corpus: str = "hume", **values: float) -> Clip:
    return replace(clip_of(name, corpus), shares=values)


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
    found = examples(SHARES, clips, roles, "task.x")
    assert [e.clip.clip for e in found] == ["hume/0", "hume/2", "hume/3", "hume/5"]
    assert {e.label for e in found} == {UNDECIDED}
    nan = math.nan
    expected = [(0.5, 0.25), (nan, 1.0), (nan, nan), (0.0, nan)]
    assert [e.values for e in found] == [pytest.approx(one, nan_ok=True) for one in expected]
    assert "task.x: 2 of 6 clips take no part: 2 without shares" in capsys.readouterr().err


def test_an_emotion_that_no_training_clip_is_rated_for_is_named() -> None:
    clips, roles = [clip("0", anger=0.0), clip("1", interest=0.5)], {"hume/0": "train"}
    with pytest.raises(PipelineError, match=r"task\.x\.emotions has 'interest', but no training"):
        examples(SHARES, clips, roles | {"hume/1": "test"}, "task.x")
    # A share of 0 is a rating, too.
    found = examples(SHARES, clips, roles | {"hume/1": "train"}, "task.x")
    assert len(found) == 2 and scale(SHARES, found) == ([0.0, 0.5], [1.0, 1.0])
    held = scope.labels(SHARES, clips)
    assert held == {("hume", "anger"): 1, ("hume", "interest"): 1}
    assert scope.left_out(SHARES, scope.labels(SHARES, [clip("2", surprise=1.0)])) == {}
    wrong = SHARES.model_copy(update={"emotions": ["angr"]})
    with pytest.raises(PipelineError, match=r"a share of 'angr' \(nearest label 'anger'\)"):
        scope.require_filled("task.x", wrong, held)


def test_the_digest_follows_shares_and_roles() -> None:
    digests = {
        digest(
            examples(
                SHARES,
                [clip("0", anger=0.5, interest=0.5), clip("1", anger=value)],
                {"hume/0": "train", "hume/1": role},
            )
        )
        for value, role in ((0.5, "test"), (0.25, "test"), (0.5, "dev"))
    }
    assert len(digests) == 3
