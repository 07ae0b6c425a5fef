"""`/stream`: the opinions of the API's `stream`, whatever pieces the samples come in."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from pipeline.audio.formats import Samples
from pipeline.inference import api
from pipeline.inference.judge import Floats
from pipeline.inference.timeline.formats import plain
from tests.inference.service.conftest import Serve
from tests.inference.service.test_application import TOKEN, numbers
from tests.inference.test_listening import CUTTING, JUDGE

PLACE = "ws://127.0.0.1/stream"
MODEL = api.Model(JUDGE, CUTTING)


def samples(seconds: float, rate_hz: int = 16_000) -> bytes:
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = np.repeat(np.arange(round(seconds * rate_hz)) // rate_hz, 1) * 300
    return bytes((wave + 3000 * np.sin(600 * time_s)).astype("<i2").tobytes())


def heard(client: TestClient, pieces: list[bytes], rate: int) -> list[dict[str, Any]]:
    with client.websocket_connect(f"{PLACE}?rate={rate}") as socket:
        for piece in [*pieces, b""]:
            socket.send_bytes(piece)
        return list(until_the_end(socket))


def until_the_end(socket: Any) -> Iterator[dict[str, Any]]:
    while True:
        try:
            yield json.loads(socket.receive_text())
        except WebSocketDisconnect as end:
            assert (end.code, end.reason) == (1000, "")
            return


@pytest.mark.parametrize("rate", [16_000, 8_000, 44_100])
@pytest.mark.parametrize("size", [10**6, 3_201])
def test_opinions_are_those_of_the_api(serve: Serve, rate: int, size: int) -> None:
    client, work = serve()
    pcm = samples(3.6, rate)
    pieces = [pcm[at : at + size] for at in range(0, len(pcm), size)]
    expected = [plain(one) for one in api.stream(MODEL, pieces, rate)]
    assert len(expected) == 4
    assert heard(client, pieces, rate) == expected
    assert work.count["streams"] == 0
    found = numbers(client)
    assert found["ser_audio_seconds_total"] == pytest.approx(3.6)
    assert found['ser_requests_total{code="101",path="/stream"}'] == 1


def test_a_stream_without_samples_has_no_opinion(serve: Serve) -> None:
    assert heard(serve()[0], [], 16_000) == []


def test_a_client_that_leaves_is_no_defect(serve: Serve, capfd: pytest.CaptureFixture[str]) -> None:
    client, work = serve()
    with client.websocket_connect(PLACE) as socket:
        socket.send_bytes(samples(1.5))
        assert json.loads(socket.receive_text())["end_s"] == 1.0
    assert work.count["streams"] == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("limits", "message", "code", "reason"),
    [
        ({}, "text", 1003, "expected binary messages of 16-bit samples"),
        ({"idle_s": 0.05}, None, 1008, "no samples for 0.05 s"),
    ],
)
def test_a_stream_ends_with_a_reason(
    serve: Serve, limits: dict[str, float], message: str | None, code: int, reason: str
) -> None:
    client, work = serve(**limits)
    with client.websocket_connect(PLACE) as socket:
        if message:
            socket.send_text(message)
        with pytest.raises(WebSocketDisconnect) as end:
            socket.receive_text()
    assert (end.value.code, end.value.reason) == (code, reason)
    assert work.count["streams"] == 0


def test_a_defect_ends_a_stream_without_what_was_sent(
    serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    def logits(_: Sequence[Samples]) -> Floats:
        raise RuntimeError("canary")

    client, work = serve(replace(JUDGE, logits=logits))
    with client.websocket_connect(PLACE) as socket:
        socket.send_bytes(samples(1.5))
        with pytest.raises(WebSocketDisconnect) as end:
            socket.receive_text()
    assert (end.value.code, end.value.reason) == (1011, "a defect")
    err = capfd.readouterr().err
    assert err.startswith("defect: RuntimeError in logits:")
    assert "canary" not in err
    assert work.count["streams"] == 0


def test_a_stop_ends_a_stream_with_what_was_heard(serve: Serve) -> None:
    client, work = serve()
    assert client.portal
    with client.websocket_connect(PLACE) as socket:
        socket.send_bytes(samples(1.5))
        assert json.loads(socket.receive_text())["end_s"] == 1.0
        client.portal.call(work.stopping.set)
        assert json.loads(socket.receive_text())["end_s"] == 1.5
        with pytest.raises(WebSocketDisconnect) as end:
            socket.receive_text()
    assert (end.value.code, end.value.reason) == (1001, "stopping")


def refused(client: TestClient, place: str, **headers: str) -> tuple[int, str]:
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        client.websocket_connect(place, headers=headers),
    ):
        pass
    return denied.value.status_code, denied.value.json()["detail"]


@pytest.mark.parametrize(
    "rate", ["", "0", "3999", "192001", "16000.0", "-16000", "x" * 99, "١٦٠٠٠"]
)
def test_a_rate_that_is_none(serve: Serve, rate: str) -> None:
    code, told = refused(serve()[0], f"{PLACE}?rate={rate}")
    assert code == 422
    assert told.startswith("rate: expected 4000 to 192000 samples a second, got '")


def test_one_too_many_and_one_too_late(serve: Serve) -> None:
    client, work = serve(streams=1)
    with client.websocket_connect(PLACE):
        assert refused(client, PLACE) == (
            429,
            "service: 1 streams are at work already, wait and send it again",
        )
    assert client.portal
    client.portal.call(work.stopping.set)
    assert refused(client, PLACE)[0] == 503


def test_strangers_are_refused_before_the_handshake(serve: Serve) -> None:
    """A browser opens sockets to any site from any page, and asks nobody."""
    assert refused(serve()[0], PLACE, origin="http://evil.example.org")[0] == 403
    client, _ = serve(token=TOKEN)
    assert refused(client, PLACE)[0] == 401
    with client.websocket_connect(PLACE, headers={"authorization": f"Bearer {TOKEN}"}):
        pass


def test_a_path_that_is_not_there(serve: Serve) -> None:
    with pytest.raises((WebSocketDisconnect, WebSocketDenialResponse)):
        serve()[0].websocket_connect("ws://127.0.0.1/other").__enter__()
