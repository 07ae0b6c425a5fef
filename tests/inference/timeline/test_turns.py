"""Windows, voices, turns that are given, and their smoothing, against brute force."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.audio.resampling import resample
from pipeline.demo import synthesis
from pipeline.demo.voice import RATE_HZ
from pipeline.ground.errors import PipelineError
from pipeline.inference.timeline import turns
from pipeline.inference.timeline.sound import Sound
from pipeline.inference.timeline.turns import Turn, given, smoothed, windows

HZ = 16_000


@pytest.mark.parametrize("hop", [1000, 700, 1300])
@pytest.mark.parametrize("length", [1000, 5000])
def test_windows_cover_all(hop: int, length: int) -> None:
    for stop in (900, 1000, 5000, 5399, 5400, 9999):
        found = windows(100, stop, length, hop)
        assert [turn.start for turn in found] == list(range(100, 100 + hop * len(found), hop))
        assert all(turn.stop == min(turn.start + length, stop) for turn in found)
        assert all(turn.stop - turn.start >= 400 for turn in found)
        if hop <= length:
            # What is left at the end is too short for a frame.
            assert stop - found[-1].stop < 400
        assert all(turn.stop < stop for turn in found[:-1])


def test_smoothing_is_the_mean_of_a_speakers_neighbours() -> None:
    rng = np.random.default_rng(0)
    starts = np.sort(rng.integers(0, 40 * HZ, 60))
    found = [
        Turn(int(s), int(s + rng.integers(HZ, 4 * HZ)), "ab"[i % 2]) for i, s in enumerate(starts)
    ]
    logits = rng.standard_normal((60, 3))
    made = smoothed(logits, found, 3.0)
    for turn, row in zip(found, made, strict=True):
        near = [
            logits[i]
            for i, other in enumerate(found)
            if other.speaker == turn.speaker
            and abs(other.start + other.stop - turn.start - turn.stop) / 2 <= 3 * HZ
        ]
        np.testing.assert_allclose(row, np.mean(near, 0), atol=1e-12)
    assert not np.allclose(made, logits)


RTTM = """
SPKR-INFO talk 1 <NA> <NA> <NA> unknown anna <NA> <NA>
SPEAKER talk 1 2.50 1.25 <NA> <NA> ben <NA> <NA>
SPEAKER talk 1 0.00 2.75 <NA> <NA> anna <NA> <NA>
SPEAKER other 1 0.00 9.00 <NA> <NA> anna <NA> <NA>
"""
CSV = "Start;End;Speaker\n2,50;3,75;ben\n0;2,75;anna\n"
WITH_FILES = "file,start,end,speaker\ntalk.wav,2.5,3.75,ben\nx.wav,0,1,c\ntalk.wav,0,2.75,anna\n"


@pytest.mark.parametrize(
    ("name", "text"), [("a.rttm", RTTM), ("a.csv", CSV), ("b.csv", WITH_FILES)]
)
def test_turns_are_read_in_the_order_of_their_starts(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    # 5 ms beyond the end are rounding.
    found = given(tmp_path / name, "talk", 4 * HZ - 4080)
    assert found == [Turn(0, 44_000, "anna"), Turn(40_000, 4 * HZ - 4080, "ben")]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.rttm", "SPEAKER talk 1 x 1 <NA> <NA> a\n", "line 1: expected SPEAKER <file>"),
        ("a.rttm", "SPEAKER talk 1 0 1\n", "line 1: expected SPEAKER <file>"),
        ("a.rttm", "SPEAKER talk 1 0 nan <NA> <NA> a <NA>\n", "line 1: expected SPEAKER <file>"),
        ("a.rttm", "SPEAKER talk 1 -1 2 <NA> <NA> a <NA>\n", "line 1: expected SPEAKER <file>"),
        ("a.rttm", "SPEAKER x 1 0 1 <NA> <NA> a <NA>\n", "no segment of talk but of x"),
        ("a.rttm", "", "no segment of talk"),
        ("a.csv", "start,end\n0,\n", "line 2: start and end must be seconds"),
        ("a.csv", "start,end\n2,1\n", "line 2: expected a segment of at least 0.025 s"),
        ("a.csv", "start,end\n0,9\n", "within the 5.00 s of the recording, got 0 to 9 s"),
        ("a.csv", "start,end\n0,inf\n", "line 2: end must be 0 to"),
        ("a.csv", "from,to\n0,1\n", "start"),
        ("none.csv", None, "no such file"),
    ],
)
def test_what_cannot_be_followed_is_one_line(
    tmp_path: Path, name: str, text: str | None, told: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises((PipelineError, FileNotFoundError)) as caught:
        given(tmp_path / name, "talk", 5 * HZ)
    assert told.lower() in str(caught.value).lower()
    assert "\n" not in str(caught.value)


def voice(take: int) -> np.ndarray:
    """A woman of the demo corpus, at 16 kHz."""
    said = synthesis.utter(1, 0, "neutral", take, 1).samples.astype(np.float32) / np.float32(32768)
    return resample(said, RATE_HZ, HZ)


def test_a_voice_is_found_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("silero_vad")
    quiet = (1e-4 * np.random.default_rng(0).standard_normal(2 * HZ)).astype(np.float32)
    made, expected = Sound(), []
    for part in (quiet, voice(0), quiet, voice(1), quiet):
        expected += [] if part is quiet else [(len(made), len(made) + len(part))]
        made.append(part)
    found = turns.voiced(made)
    spoken = np.zeros(len(made), bool)
    for start, stop in expected:
        spoken[start:stop] = True
    heard = np.zeros(len(made), bool)
    for turn in found:
        heard[turn.start : turn.stop] = True
    assert (spoken & heard).sum() > 0.8 * spoken.sum()
    assert (heard & ~spoken).sum() < 0.5 * HZ
    # The detector hears the whole, whatever the blocks in which it is read.
    monkeypatch.setattr(turns, "BLOCK_CHUNKS", 7)
    assert turns.voiced(made) == found


def test_silence_has_no_voice() -> None:
    pytest.importorskip("silero_vad")
    made = Sound()
    made.append(np.zeros(3 * HZ, np.float32))
    assert turns.voiced(made) == []
