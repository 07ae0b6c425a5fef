"""Pieces of a stream, as a page sends them."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.audio.formats import Samples
from pipeline.audio.segments import Cutting
from pipeline.inference import api
from pipeline.inference.api import Model
from pipeline.inference.judge import Judge
from pipeline.inference.page import answer, live
from pipeline.inference.page.answer import Style
from tests.recordings import tone

CLASSES = ["loud", "long"]


def loudness(waves: Sequence[Samples]) -> npt.NDArray[np.float32]:
    return np.array([[100 * np.abs(w).mean(), len(w) / 16_000] for w in waves], np.float32)


MODEL = Model(
    Judge("emotion", CLASSES, loudness),
    Cutting(max_clip_s=3.0, last_clip="shorter", trim_db=None),
)
STYLE = Style(CLASSES)


def pcm(seconds: float, rate_hz: int) -> bytes:
    return (tone(seconds, rate_hz=rate_hz) * 32767).astype("<i2").tobytes()


def piece(content: bytes, stream: str = "a", rate_hz: int = 48_000, **other: Any) -> dict[str, Any]:
    text = base64.b64encode(content).decode()
    return {"stream": stream * 32, "rate_hz": rate_hz, "pcm": text} | other


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_it_is_what_a_stream_gives(rate_hz: int) -> None:
    """`ser predict --stream`, by way of `api.stream`, whatever other streams there are."""
    content = pcm(6.7, rate_hz)
    pieces = [content[at : at + 30_001] for at in range(0, len(content), 30_001)]
    streams = live.Streams(MODEL, STYLE)
    shown = []
    for number, one in enumerate([*pieces, b""]):
        streams.hear(piece(bytes(2 * number), "b", rate_hz))
        shown.append(streams.hear(piece(one, "a", rate_hz)))
    expected = list(api.stream(MODEL, pieces, rate_hz, window_s=3.0))
    assert len(expected) == 7
    whole = answer.stream(expected, STYLE)
    assert [text for text in shown if text][-1] == whole


def test_no_news_is_no_answer() -> None:
    streams = live.Streams(MODEL, STYLE)
    assert streams.hear(piece(pcm(0.5, 48_000))) == ""
    assert "0 to 1 s" in streams.hear(piece(pcm(0.6, 48_000)))


@pytest.mark.parametrize(
    "told",
    [
        None,
        "piece",
        {},
        piece(b"ab", stream="x"),
        piece(b"ab", rate_hz=1),
        piece(b"ab", rate_hz=10**9),
        piece(b"ab", pcm="no base64"),
        piece(b"ab", pcm="ä"),
        piece(bytes(live.PIECE_BYTES)),
        piece(b"ab", more=1),
    ],
)
def test_what_is_no_piece_is_told_and_nothing_is_held(told: Any) -> None:
    streams = live.Streams(MODEL, STYLE)
    assert "microphone: expected pieces of a stream" in streams.hear(told)
    for name in "01234567"[: live.MOST]:
        assert streams.hear(piece(b"ab", name)) == ""


def test_one_too_many_is_told_until_another_ends_or_is_forgotten() -> None:
    now_s = 0.0
    streams = live.Streams(MODEL, STYLE, lambda: now_s)
    names = "0123456789abcdef"
    for name in names[: live.MOST]:
        assert streams.hear(piece(b"ab", name)) == ""
    assert f"{live.MOST} others are heard" in streams.hear(piece(b"ab", "f"))
    streams.hear(piece(b"", names[0]))
    assert streams.hear(piece(b"ab", "f")) == ""
    assert "others are heard" in streams.hear(piece(b"ab", "e"))
    now_s = live.IDLE_S + 1
    assert streams.hear(piece(b"ab", "e")) == ""


def test_the_end_of_one_that_never_began_is_nothing() -> None:
    assert live.Streams(MODEL, STYLE).hear(piece(b"")) == ""


def test_a_stream_at_another_rate_is_another() -> None:
    streams = live.Streams(MODEL, STYLE)
    streams.hear(piece(pcm(0.9, 48_000)))
    assert "0 to 1 s" in streams.hear(piece(pcm(1, 16_000), rate_hz=16_000))
    assert "0 to 1 s" in streams.hear(piece(pcm(0.2, 48_000)))
