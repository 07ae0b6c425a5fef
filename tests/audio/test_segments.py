"""Trimming against librosa; cutting by properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from librosa.effects import trim

from pipeline.audio.formats import MIN_SAMPLES
from pipeline.audio.segments import FRAME_SAMPLES, HOP_SAMPLES, spans, speech_part
from tests.recordings import tone


@pytest.mark.parametrize("trim_db", [20.0, 40.0, 60.0])
def test_trimming_is_librosas(trim_db: float) -> None:
    random = np.random.default_rng(0)
    for before, after in [(0, 0), (3_000, 0), (0, 5_001), (8_123, 777)]:
        noise = 1e-4 * random.standard_normal(before + 16_000 + after).astype(np.float32)
        noise[before : before + 16_000] += tone(1.0)
        _, theirs = trim(noise, top_db=trim_db, frame_length=FRAME_SAMPLES, hop_length=HOP_SAMPLES)
        assert speech_part(noise, trim_db) == tuple(theirs)


def test_nothing_is_trimmed_unless_asked() -> None:
    assert speech_part(np.zeros(1_000, np.float32), None) == (0, 1_000)


@given(
    samples=st.integers(MIN_SAMPLES, 5_000),
    limit=st.integers(MIN_SAMPLES, 2_000),
    last=st.sampled_from(["shorter", "overlapped"]),
)
def test_parts_cover_the_utterance_and_hold_a_frame_each(
    samples: int, limit: int, last: str
) -> None:
    parts = spans(samples, limit, last)
    covered = np.zeros(samples, int)
    for start, stop in parts:
        assert MIN_SAMPLES <= stop - start <= limit
        covered[start:stop] += 1
    left_out = int((covered == 0).sum())
    if last == "overlapped" or samples <= limit:
        assert left_out == 0
        assert len({stop - start for start, stop in parts}) == 1
    else:
        assert covered.max() == 1
        assert left_out < MIN_SAMPLES and not covered[samples - left_out :].any()


def test_the_two_ways_to_cut_the_last_part() -> None:
    assert spans(2_500, 1_000, "shorter") == [(0, 1_000), (1_000, 2_000), (2_000, 2_500)]
    assert spans(2_500, 1_000, "overlapped") == [(0, 1_000), (1_000, 2_000), (1_500, 2_500)]
    assert spans(2_000, 1_000, "overlapped") == [(0, 1_000), (1_000, 2_000)]
    assert spans(2_399, 1_000, "shorter") == [(0, 1_000), (1_000, 2_000)]
