"""Uploads made to do harm, slow clients and half-closed sockets: each gets its 4xx, and no other
client notices (`make web`)."""

import json
import pickle
import random
import re
import socket
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.faults.test_fuzz import mutated, sounds
from tests.faults.test_hostile import Payload
from tests.inference.service.process import Process, serving
from tests.patience import PATIENCE_S, wait_until
from tests.recordings import record, tone

MUTANTS = 60  # of each container
# What is shorter than in earnest, so that the tests are.
OPTIONS = ("--body-s", "3", "--idle-s", "5", "--max-mib", "8", "--streams", "2", "--at-work", "4")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return record(tmp_path_factory.mktemp("good") / "a.wav", tone(1.0)).read_bytes()


@pytest.fixture(scope="module")
def service(
    request: pytest.FixtureRequest, model: Path, good: bytes
) -> Iterator[tuple[Process, str]]:
    """A service, and what it says of a good recording."""
    if not request.config.getoption("--web"):
        pytest.skip("minutes of the web, run it with --web")
    with serving(model, *OPTIONS) as found:
        yield found, found.predict(good).text
        assert found.stop() == 0
        # Nothing was written of what came, and nothing of it was left.
        assert found.log.splitlines()[1:] == ["stopped"]
        assert list((model.parent / "tmp").iterdir()) == []


@pytest.fixture(autouse=True)
def unharmed(service: tuple[Process, str], good: bytes) -> Iterator[None]:
    """After each test it says what it said, and holds nothing."""
    yield
    process, said = service
    assert process.predict(good).text == said
    wait_until(lambda: process.number("ser_held_bytes") == 0)
    assert process.number("ser_requests_at_work") == process.number("ser_streams_open") == 0
    wait_until(lambda: process.descriptors() < 60)


def wave(samples: bytes, rate_hz: int = 16_000, channels: int = 1, declared: int = 0) -> bytes:
    size = declared or len(samples)
    head = struct.pack("<4sI4s", b"RIFF", min(36 + size, 2**32 - 1), b"WAVE")
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, 2 * rate_hz, 2 * channels % 2**16, 16)
    return head + b"fmt \x10\0\0\0" + form + struct.pack("<4sI", b"data", size) + samples


def bomb() -> bytes:
    with zipfile.ZipFile(content := BytesIO(), "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("../../escaped.wav", bytes(5_000_000))
    return content.getvalue()


def silent(folder: Path) -> bytes:
    return record(folder / "a.flac", np.zeros(16_000 * 3600, np.float32)).read_bytes()


def of_numbers(folder: Path) -> bytes:
    samples = tone(0.5)
    samples[100] = np.nan
    return record(folder / "a.wav", samples, subtype="FLOAT").read_bytes()


SLOW_AU = struct.pack(">4sIIIII", b".snd", 24, 2**21, 3, 1, 1) + b"\x10\0\xf0\0" * 2**19
LISTED = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
HOSTILE: dict[str, Callable[[Path], bytes]] = {
    "empty": lambda _: b"",
    "one byte": lambda _: b"R",
    "header alone": lambda _: wave(b""),
    "header that lies": lambda _: wave(bytes(100), declared=2**32 - 100),
    "rate of nothing": lambda _: wave(bytes(2000), rate_hz=0),
    "no channels": lambda _: wave(bytes(2000), channels=0),
    "65535 channels": lambda _: wave(bytes(2**17), channels=65_535),
    "silence": lambda _: wave(bytes(32_000)),
    "10 ms": lambda _: wave(b"\x10\x27\xf0\xd8" * 80),
    "days at 1 Hz": lambda _: wave(b"\x10\x27\xf0\xd8" * 2**19, rate_hz=1),
    "days at 1 Hz, by ffmpeg": lambda _: SLOW_AU,
    "an hour in a few bytes": silent,
    "not a number": of_numbers,
    "pickle": lambda folder: pickle.dumps(Payload(folder / "canary"), 0),
    "zip": lambda _: bomb(),
    "LFS pointer": lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "playlist": lambda _: LISTED,
    "playlist in a container": lambda _: b"\0\0\0\x18ftypM4A " + LISTED,
    "Matroska": lambda _: b"\x1aE\xdf\xa3" + bytes(1000),
    "AAC": lambda _: b"\xff\xf1" + bytes(1000),
    "transport stream": lambda _: b"G@" + bytes(100_000),
    "JSON": lambda _: b"[" * 100_000,
    "zeros": lambda _: bytes(4 * 2**20),
    "too large": lambda _: bytes(8 * 2**20 + 1),
}


def require_one_line(answer: httpx.Response) -> None:
    assert 400 <= answer.status_code < 500
    detail = answer.json()["detail"]
    assert len(detail.splitlines()) == 1
    assert not re.search(r"/proc|memfd|Traceback|0x[0-9a-f]{6}", detail)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_upload_is_one_line(
    service: tuple[Process, str], tmp_path: Path, kind: str
) -> None:
    content = HOSTILE[kind](tmp_path)
    address = f"{service[0].url}/predict"
    for name in ("a.wav", "../../../etc/passwd", "-", "a\0b", "/dev/zero", "x" * 5000, "\u202e\n"):
        form = {"file": (name, content)}
        require_one_line(httpx.post(address, files=form, timeout=PATIENCE_S))
    require_one_line(service[0].predict(content))
    assert not (tmp_path / "canary").exists()


def test_no_mutant_is_a_defect(service: tuple[Process, str], tmp_path: Path) -> None:
    """As `make fuzz` has it: read, or refused in one line."""
    draw, codes = random.Random(24), set()
    for seed in map(Path.read_bytes, sounds(tmp_path)):
        for _ in range(MUTANTS):
            answer = service[0].predict(mutated(seed, draw))
            codes.add(answer.status_code)
            if answer.status_code != 200:
                require_one_line(answer)
    assert codes == {200, 422}


def test_no_mutated_form_is_a_defect(service: tuple[Process, str], good: bytes) -> None:
    draw, codes = random.Random(24), set()
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    seed = head + b"Content-Type: audio/wav\r\n\r\n" + good[:2000] + b"\r\n--b--\r\n"
    for _ in range(5 * MUTANTS):
        kind = "multipart/form-data; boundary=b"
        answer = service[0].predict(mutated(seed, draw), **{"content-type": kind})
        codes.add(answer.status_code)
        if answer.status_code != 200:
            require_one_line(answer)
    assert codes == {200, 422}


def closed(waiting: socket.socket) -> bytes:
    """What it was told before the server closed it."""
    found = b""
    waiting.settimeout(PATIENCE_S)
    try:
        while piece := waiting.recv(2**16):
            found += piece
    except ConnectionResetError:
        pass
    return found


HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
SLOW = {
    "nothing": (b"", b""),
    "half a head": (b"POST /pre", b""),
    "a head that never ends": (HEAD + b"X: " + b"x" * 100, b""),
    "no body": (HEAD + b"Content-Length: 100\r\n\r\n", b" 408 "),
    "half a body": (HEAD + b"Content-Length: 100\r\n\r\n" + bytes(50), b" 408 "),
    "a chunk that does not come": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", b" 408 "),
    "a form that does not end": (
        HEAD
        + b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 99\r\n\r\n--b\r\n",
        b" 408 ",
    ),
    "more than it may": (HEAD + b"Content-Length: 99999999\r\n\r\n" + bytes(50), b" 413 "),
}


def test_who_is_slow_starves_nobody(service: tuple[Process, str], good: bytes) -> None:
    """Ten of each kind at once, many more than may be at work; others are answered meanwhile."""
    process, said = service
    waiting = [(process.connect(), *one) for one in SLOW.values() for _ in range(10)]
    for slow, begun, _ in waiting:
        slow.sendall(begun)
    assert [process.predict(good).text for _ in range(5)] == [said] * 5
    for slow, begun, expected in waiting:
        told = closed(slow)
        assert expected in told, begun
        assert bool(told) == bool(expected), begun
        slow.close()


def test_who_sends_a_byte_now_and_then_is_no_better(
    service: tuple[Process, str], good: bytes
) -> None:
    process, said = service
    with process.connect() as head, process.connect() as body:
        body.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
        is_open = {head, body}

        def trickle() -> bool:
            for one in list(is_open):
                try:
                    one.sendall(b"x")
                except OSError:
                    is_open.remove(one)
            time.sleep(0.2)
            return not is_open

        assert process.predict(good).text == said
        wait_until(trickle)


def test_who_never_reads_is_cut_off(service: tuple[Process, str], good: bytes) -> None:
    """Pipelined requests whose answers fill every buffer."""
    process, said = service
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", process.port))
        deaf.settimeout(PATIENCE_S)
        request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with pytest.raises(OSError, match=r"reset|[Bb]roken"):
            while True:
                deaf.sendall(request * 100)
    assert process.predict(good).text == said


@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",  # without a host
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nnone\r\n",
        HEAD + b"X: " + b"x" * 100_000,
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",  # the beginning of TLS
    ],
)
def test_what_is_no_http_is_told_so_in_json(service: tuple[Process, str], garbage: bytes) -> None:
    with service[0].connect() as asking:
        asking.sendall(garbage)
        head, _, body = closed(asking).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["detail"].startswith("request: expected HTTP/1.1")


def test_a_stream_may_follow_a_request_on_its_connection(service: tuple[Process, str]) -> None:
    """And lasts longer than the head of another request might take."""
    process, _ = service
    with process.connect() as kept:
        kept.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while not answer.endswith(b'{"status":"ok"}'):
            answer += kept.recv(9999)
        with connect(f"ws://127.0.0.1:{process.port}/stream", sock=kept) as stream:
            for second in range(1, 13):
                stream.send(bytes(b"\x10\x10\xf0\xf0" * 8000))
                assert json.loads(stream.recv(PATIENCE_S))["end_s"] == second
                time.sleep(1)


@pytest.mark.parametrize("how", [socket.SHUT_WR, socket.SHUT_RDWR])
def test_half_closed_sockets_hold_nothing(
    service: tuple[Process, str], good: bytes, how: int
) -> None:
    process, said = service
    made = []
    for begun, _ in SLOW.values():
        for _ in range(5):
            made.append(process.connect())
            made[-1].sendall(begun)
            made[-1].shutdown(how)
    wait_until(lambda: process.number("ser_held_bytes") == 0)
    assert process.predict(good).text == said
    for one in made:
        one.close()


def test_who_leaves_is_not_worked_for(service: tuple[Process, str], tmp_path: Path) -> None:
    process, _ = service
    content = record(tmp_path / "a.flac", tone(120.0)).read_bytes()
    query = b"POST /predict?segments=fixed&segment_s=0.5&hop_s=0.1 HTTP/1.1\r\nHost: localhost\r\n"
    judged = process.number("ser_clips_judged")
    with process.connect() as leaving:
        leaving.sendall(query + b"Content-Length: %d\r\n\r\n" % len(content) + content)
        wait_until(lambda: process.number("ser_clips_judged") > judged)
    wait_until(lambda: process.number("ser_requests_at_work") == 0)
    assert process.number("ser_clips_judged") - judged < 1190


def test_an_idle_stream_is_ended_and_its_place_given(service: tuple[Process, str]) -> None:
    address = f"ws://127.0.0.1:{service[0].port}/stream"
    with connect(address) as one, connect(address) as other:
        for stream in (one, other):
            with pytest.raises(ConnectionClosed, match="no samples for 5 s"):
                stream.recv(PATIENCE_S)
    wait_until(lambda: service[0].number("ser_streams_open") == 0)
    with connect(address) as again:
        again.send(bytes(200_000))
        assert json.loads(again.recv(PATIENCE_S))["end_s"] == 1.0


def test_a_message_beyond_a_mebibyte_ends_the_stream(service: tuple[Process, str]) -> None:
    with connect(f"ws://127.0.0.1:{service[0].port}/stream") as stream:
        stream.send(bytes(2**20 + 2))
        with pytest.raises(ConnectionClosed, match="1009"):
            stream.recv(PATIENCE_S)


def test_streams_that_are_cut_hold_nothing(service: tuple[Process, str]) -> None:
    for _ in range(10):
        wait_until(lambda: service[0].number("ser_streams_open") < 2)
        with connect(f"ws://127.0.0.1:{service[0].port}/stream") as stream:
            stream.send(bytes(50_000))
            stream.socket.shutdown(socket.SHUT_RDWR)
