"""Files, turns and streams through a judge whose answers can be computed by hand."""

import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.audio.formats import Samples
from pipeline.audio.segments import Cutting
from pipeline.ground.errors import PipelineError
from pipeline.inference import listening
from pipeline.inference.judge import Judge
from pipeline.inference.listening import Manner
from pipeline.inference.timeline import reading, sound
from pipeline.inference.timeline.opinions import Heard, Opinion
from tests.recordings import record

HZ = 16_000
CUTTING = Cutting(max_clip_s=2.0, last_clip="shorter", trim_db=None)


def loudness(waves: Sequence[Samples]) -> npt.NDArray[np.float32]:
    """Logits that tell what was heard: ten times the mean, and the seconds."""
    return np.array([[10 * w.mean(), len(w) / HZ] for w in waves], np.float32)


JUDGE = Judge("emotion", ["high", "long"], loudness)


def steps(path: Path, seconds: int, rate_hz: int = HZ) -> Path:
    """Each second is higher than the last; between them it swings, so as not to be silent."""
    level = np.repeat(np.arange(seconds) / 100, rate_hz)
    swing = 0.1 * np.sin(2 * np.pi * 100 * np.arange(seconds * rate_hz) / rate_hz)
    return record(path, (level + swing).astype(np.float32), rate_hz)


def difference(opinion: Opinion) -> float:
    """What the two logits differ by."""
    told = opinion.probabilities
    return float(np.log(told["high"]) - np.log(told["long"]))


def by_hand(start_s: float, stop_s: float) -> float:
    at = np.arange(round(start_s * 1000), round(stop_s * 1000)) // 1000 / 100
    return float(10 * at.mean() - (stop_s - start_s))


def test_clips_as_in_training(tmp_path: Path) -> None:
    heard = listening.listen(JUDGE, steps(tmp_path / "a.wav", 5), Manner(CUTTING))
    spans = [(one.start_s, one.end_s) for one in heard.clips]
    assert spans == [(0, 2), (2, 4), (4, 5)]
    expected = [by_hand(*span) for span in spans]
    assert [difference(one) for one in heard.clips] == pytest.approx(expected, abs=2e-3)
    assert difference(heard.whole) == pytest.approx(np.mean(expected), abs=2e-3)
    assert heard.duration_s == 5


def test_windows_overlap_and_are_smoothed(tmp_path: Path) -> None:
    manner = Manner(CUTTING, "fixed", hop_s=0.5)
    heard = listening.listen(JUDGE, steps(tmp_path / "a.wav", 5), manner)
    spans = [(one.start_s, one.end_s) for one in heard.clips]
    assert spans == [(n / 2, n / 2 + 2) for n in range(7)]
    plain = [by_hand(*span) for span in spans]
    assert [difference(one) for one in heard.clips] == pytest.approx(plain, abs=2e-3)
    smooth = listening.listen(JUDGE, tmp_path / "a.wav", Manner(CUTTING, "fixed", 0.5, 0.5))
    near = [np.mean(plain[max(0, n - 1) : n + 2]) for n in range(7)]
    assert [difference(one) for one in smooth.clips] == pytest.approx(near, abs=2e-3)
    assert difference(smooth.whole) == pytest.approx(difference(heard.whole))


def test_a_turn_is_the_mean_of_its_clips(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("start,end,speaker\n0,5,a\n1,2.5,b\n")
    heard = listening.listen(
        JUDGE, steps(tmp_path / "a.wav", 5), Manner(CUTTING, str(tmp_path / "t.csv"))
    )
    assert [(one.speaker, one.start_s, one.end_s) for one in heard.clips] == [
        ("a", 0, 5),
        ("b", 1, 2.5),
    ]
    long = np.mean([by_hand(0, 2), by_hand(2, 4), by_hand(4, 5)])
    found = [difference(one) for one in heard.clips]
    assert found == pytest.approx([long, by_hand(1, 2.5)], abs=2e-3)


@pytest.mark.parametrize("segments", ["", "fixed", "vad"])
def test_hours_are_judged_as_minutes_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segments: str
) -> None:
    """The same answers where nothing is held whole: neither the file, nor what is decoded of it."""
    pytest.importorskip("silero_vad")
    path = steps(tmp_path / "a.wav", 9, 22_050)
    cutting = CUTTING.model_copy(update={"trim_db": 30.0})

    def heard() -> Heard | None:
        try:
            return listening.listen(JUDGE, path, Manner(cutting, segments))
        except PipelineError as error:
            assert "no speech was found" in str(error)
            return None

    expected = heard()
    monkeypatch.setattr(reading, "HELD_BYTES", 1000)
    monkeypatch.setattr(reading, "BLOCK_FRAMES", 3000)
    monkeypatch.setattr(sound, "HELD_BYTES", 1000)
    monkeypatch.setattr(sound, "BLOCK_SAMPLES", 160 * 50)
    assert heard() == expected
    assert segments == "vad" or expected


def pcm(path: Path) -> bytes:
    import soundfile

    return bytes(soundfile.read(path, dtype="int16")[0].tobytes())


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_no_more_is_taken_than_is_allowed(tmp_path: Path, name: str) -> None:
    path = steps(tmp_path / name, 4)
    assert len(listening.recorded(path, Path("b"), 4)) == 4 * HZ
    with pytest.raises(PipelineError, match=r"^b: too_long, more than 3\.5 s of audio, cut it$"):
        listening.recorded(path, Path("b"), 3.5)


@pytest.mark.parametrize("piece", [1, 3201, 10**9])
@pytest.mark.parametrize("rate_hz", [HZ, 8000])
def test_a_stream_has_an_opinion_a_second(tmp_path: Path, piece: int, rate_hz: int) -> None:
    held = pcm(steps(tmp_path / "a.wav", 5, rate_hz))[: -rate_hz // 2 // 2 * 2]
    size = max(piece, len(held) // 2000)  # bytes: an odd size cuts samples in two
    pieces = [held[at : at + size] for at in range(0, len(held), size)]
    found = list(listening.stream(JUDGE, pieces, rate_hz, window_s=2.0, every_s=1.0))
    spans = [(one.start_s, one.end_s) for one in found]
    assert spans == [(0, 1), (0, 2), (1, 3), (2, 4), (2.75, 4.75)]
    expected = [by_hand(*span) for span in spans]
    assert [difference(one) for one in found] == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1.0, 1e-9])
def test_lengths_that_are_none_are_one_line(wrong: float) -> None:
    """Not a traceback, no endless loop, and no window a sample."""
    with pytest.raises(PipelineError, match=r"hop_s: expected at least 0\.01 s, got"):
        Manner(CUTTING, "fixed", hop_s=wrong)
    if wrong != 1e-9:
        with pytest.raises(PipelineError, match="smooth_s: expected at least 0 s, got"):
            Manner(CUTTING, "fixed", smooth_s=wrong)
    with pytest.raises(PipelineError, match="the length of clips: expected at least"):
        Manner(CUTTING.model_copy(update={"max_clip_s": wrong}))
    with pytest.raises(PipelineError, match="every_s: expected at least"):
        list(listening.stream(JUDGE, [bytes(9000)], HZ, 2.0, wrong))
    with pytest.raises(PipelineError, match="window_s: expected at least"):
        list(listening.stream(JUDGE, [bytes(9000)], HZ, wrong, 1.0))


@pytest.mark.parametrize("rate_hz", [0, -1, 1, 999_999_999])
def test_a_rate_of_no_speech_is_one_line(rate_hz: int) -> None:
    with pytest.raises(PipelineError, match="stream: expected 4000 to 192000 samples a second"):
        list(listening.stream(JUDGE, [bytes(9000)], rate_hz, 2.0, 1.0))


def test_a_stream_may_be_unsure() -> None:
    told = [one.label for one in listening.stream(JUDGE, [bytes(70_000)], HZ, 2.0, 1.0, 1.01)]
    assert told and set(told) == {"unsure"}


def test_a_stream_answers_before_it_ends(tmp_path: Path) -> None:
    """An opinion needs no more than the second that it is of, and what is behind is forgotten."""
    asked = []

    def endless() -> Iterator[bytes]:
        while True:
            asked.append(1)
            yield bytes(3200)  # a tenth of a second

    opinions = listening.stream(JUDGE, endless(), HZ, window_s=2.0, every_s=1.0)
    for second in range(1, 20):
        assert next(opinions).end_s == second
        assert len(asked) == 10 * second


def test_too_little_for_a_frame_is_no_opinion() -> None:
    assert list(listening.stream(JUDGE, [bytes(700)], HZ, 2.0, 1.0)) == []
    assert list(listening.stream(JUDGE, [], HZ, 2.0, 1.0)) == []


def test_standard_input_is_a_file_of_any_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = steps(tmp_path / "a.flac", 3)
    (tmp_path / "spool").mkdir()
    expected = listening.listen(JUDGE, path, Manner(CUTTING))
    with path.open("rb") as stream:
        monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": stream}))
        heard = listening.listen(JUDGE, Path("-"), Manner(CUTTING), tmp_path / "spool")
    assert heard.file == Path("-") and heard.clips == expected.clips
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open("rb") as stream:
        monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": stream}))
        with pytest.raises(PipelineError, match=r"^-: empty, the file has no bytes"):
            listening.listen(JUDGE, Path("-"), Manner(CUTTING), tmp_path / "spool")


def test_silence_is_one_line(tmp_path: Path) -> None:
    record(tmp_path / "a.wav", np.zeros(HZ, np.float32))
    with pytest.raises(PipelineError, match=r"a\.wav: silent"):
        listening.listen(JUDGE, tmp_path / "a.wav", Manner(CUTTING))
