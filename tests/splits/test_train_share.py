"""A share of the training speakers: nested, alike over corpora and genders, all else untouched."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ground.errors import PipelineError
from pipeline.splits import partition, train_share
from tests.recordings import clip
from tests.splits.test_partition import corpus

CLIPS = [*corpus("one", speakers=16), *corpus("two", speakers=8)]
MADE = partition.take_dev(CLIPS, partition.by_group(CLIPS, "speaker", 4), "speaker")


@given(st.integers(0, 2**32), st.floats(0.001, 0.999), st.floats(0.001, 0.999))
def test_shares_are_nested_and_leave_dev_and_test_alone(seed: int, a: float, b: float) -> None:
    less, more = (train_share.take(CLIPS, MADE, share, seed) for share in sorted([a, b]))
    for whole, small, large in zip(MADE, less, more, strict=True):
        assert set(small.items()) <= set(large.items()) <= set(whole.items())
        held = {clip: role for clip, role in whole.items() if role != "train"}
        assert {clip: role for clip, role in small.items() if role != "train"} == held
        # Whole speakers, never clips.
        kept = train_share.speakers(CLIPS, small)
        assert all((c.clip in small) == (c.speaker in kept) for c in CLIPS if c.clip not in held)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.75, 0.999])
def test_so_many_speakers_stay_and_at_least_one(share: float) -> None:
    for whole, fold in zip(MADE, train_share.take(CLIPS, MADE, share, 3), strict=True):
        expected = share * len(train_share.speakers(CLIPS, whole))
        assert abs(len(train_share.speakers(CLIPS, fold)) - expected) <= 0.5
    one = [clip("a", speaker="toy/1"), clip("b", speaker="toy/2")]
    fold = {"toy/a": "train", "toy/b": "test"}
    assert train_share.take(one, [fold], 0.001, 1) == [fold]


@given(st.integers(0, 2**32))
def test_corpora_and_genders_are_thinned_alike(seed: int) -> None:
    everyone = {c.clip: "train" for c in CLIPS}
    (fold,) = train_share.take(CLIPS, [everyone], 0.5, seed)
    kept = {c.speaker: (c.corpus, c.gender) for c in CLIPS if c.clip in fold}
    found = Counter(kept.values())
    for group, count in {("one", "male"): 4, ("two", "male"): 2, ("one", "female"): 4}.items():
        assert abs(found[group] - count) <= 1


def test_the_seed_draws_and_each_fold_draws_anew() -> None:
    everyone = {c.clip: "train" for c in CLIPS}
    drawn = {
        frozenset(train_share.speakers(CLIPS, fold))
        for seed in range(5)
        for fold in train_share.take(CLIPS, [everyone, everyone], 0.25, seed)
    }
    assert len(drawn) == 10


def test_a_nameless_training_clip_is_refused() -> None:
    clips = [clip("a", speaker="toy/1"), clip("b", speaker="")]
    with pytest.raises(PipelineError, match=r"has no speaker, .*split\.train_share to 1\.0"):
        train_share.take(clips, [{"toy/a": "test", "toy/b": "train"}], 0.5, 1)
    fold = {"toy/a": "train", "toy/b": "test"}
    assert train_share.take(clips, [fold], 0.5, 1) == [fold]
