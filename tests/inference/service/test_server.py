"""`ser serve` as a process: it starts, says what `ser predict` says, and ends when told to."""

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from pipeline.cli import main as cli
from pipeline.inference import api
from pipeline.inference.timeline.formats import plain
from tests.inference.service.process import serving
from tests.inference.service.test_streams import samples
from tests.patience import PATIENCE_S, wait_until
from tests.recordings import record, tone


def said(model: Path, files: list[Path], capsys: pytest.CaptureFixture[str]) -> list[Any]:
    """What the command prints."""
    with pytest.raises(SystemExit) as end:
        cli.app(["predict", *map(str, files), "--json", "--model", str(model), "--threads", "1"])
    assert not end.value.code
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_it_says_what_the_command_says_to_the_bit_and_ends(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The smoke of `make web`: a real server, a form, a body, a stream, a signal."""
    files = [record(tmp_path / f"{n}.wav", tone(1.3 * n, 200 + 30 * n)) for n in (1, 2)]
    expected = [one | {"file": Path(str(one["file"])).name} for one in said(model, files, capsys)]
    with serving(model) as service:
        assert service.get("/health").json() == {"status": "ok"}
        form = [("file", (path.name, path.read_bytes())) for path in files]
        answer = httpx.post(f"{service.url}/predict", files=form, timeout=PATIENCE_S)
        assert answer.json() == expected
        alone = service.predict(files[0].read_bytes())
        assert alone.json() == [expected[0] | {"file": "-"}]
        pcm = samples(2.5)
        with connect(f"ws://127.0.0.1:{service.port}/stream") as stream:
            stream.send(pcm)
            stream.send(b"")
            opinions = [json.loads(one) for one in stream]
        assert opinions == [plain(one) for one in api.stream(api.load(model, "cpu"), [pcm])]
        assert service.number('ser_requests_total{code="200",path="/predict"}') == 2
        assert service.stop() == 0
        assert service.log == f"serving {model} at {service.url}\nstopped\n"
    assert list((model.parent / "tmp").iterdir()) == []


def failed(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        cli.app(["serve", *words, "--threads", "1"])
    out, err = capsys.readouterr()
    assert (end.value.code, out, err.count("\n")) == (1, "", 1)
    return err.strip()


def test_no_model_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = failed([str(tmp_path / "none"), "--port", "0"], capsys)
    assert line.startswith(f"{tmp_path / 'none'}: no classifier.json, expected the folder of a ")
    assert "expected hf:OWNER/NAME@REVISION" in failed(["hf:somebody", "--port", "0"], capsys)


def test_a_port_that_is_taken_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        line = failed([str(tmp_path), "--port", port], capsys)
    assert line == f"--port {port}: Address already in use at 127.0.0.1, choose another one"


def test_an_address_of_nobody_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for host in ("no such host", "192.0.2.1"):  # the second is of RFC 5737
        monkeypatch.setenv("SER_TOKEN", "x" * 16)
        line = failed([str(tmp_path), "--host", host, "--port", "0"], capsys)
        assert host in line
        assert line.endswith(("name one of this machine's", "choose another one"))


@pytest.mark.parametrize("name", ["fastapi", "uvicorn", "prometheus_client", "websockets"])
def test_an_extra_that_is_missing_is_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    line = failed(["model"], capsys)
    assert line == f"{name}: not installed, run `pip install 'ser-pipeline[web]'`"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.org"])  # noqa: S104
def test_other_machines_need_a_token(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = failed(["model", "--host", host], capsys)
    assert line == (
        f"--host {host}: reached from other machines, expected a token, name its file with "
        "--token-file or set SER_TOKEN"
    )


@pytest.mark.parametrize(
    "token", ["short", "with spaces in between", "ünicode-ünicode-ünicode", ""]
)
@pytest.mark.parametrize("is_file", [True, False])
def test_a_token_that_is_easily_guessed_is_refused_and_not_shown(
    token: str,
    is_file: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "token").write_text(f"{token}\n", "utf-8")
    monkeypatch.setenv("SER_TOKEN", "" if is_file else token)
    words = ["--token-file", str(tmp_path / "token")] if is_file else []
    line = failed(["model", "--host", "0.0.0.0", *words], capsys)  # noqa: S104
    assert not token or token not in line
    assert "expected 16 or more characters" in line or (not token and not is_file)
    assert "SER_TOKEN" not in os.environ


def test_a_token_is_asked_for_and_inherited_by_nobody(model: Path, web: None) -> None:
    with serving(model, "--host", "0.0.0.0", SER_TOKEN="s" * 20) as service:  # noqa: S104
        assert service.predict(b"x").status_code == 401
        given = {"authorization": "Bearer " + "s" * 20}
        assert service.predict(b"x", **given).status_code == 422
        assert service.stop() == 0
        assert "s" * 20 not in service.log


def test_a_token_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    line = failed(["model", "--token-file", "/no/such/file"], capsys)
    assert line.startswith("/no/such/file: No such file or directory")


def long_request(model: Path) -> bytes:
    return record(model.parent / "long.wav", tone(500.0)).read_bytes()


def test_a_signal_finishes_what_is_at_work_and_refuses_the_rest(model: Path, web: None) -> None:
    with serving(model) as service:
        content = long_request(model)
        with service.connect() as asking, service.connect() as kept:
            head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}"
            asking.sendall(f"{head}\r\n\r\n".encode() + content)
            wait_until(lambda: service.number("ser_clips_judged") > 0)
            service.running.terminate()
            # Whoever asks now is told so, until the one answer is out.
            kept.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert kept.recv(9999).startswith(b"HTTP/1.1 503")
            assert service.predict(b"x").status_code == 503
            assert answer_of(asking).startswith(b"HTTP/1.1 200")
        assert service.running.wait(PATIENCE_S) == 0
        assert service.log.endswith("\nstopped\n")


def answer_of(asking: socket.socket) -> bytes:
    found = b""
    while piece := asking.recv(2**16):
        found += piece
    return found


def test_a_stop_has_a_bound(model: Path, web: None) -> None:
    with serving(model, "--stop-s", "0.1", "--max-audio-s", "5000") as service:
        content = long_request(model)
        query = "/predict?segments=fixed&segment_s=0.5&hop_s=0.1"
        with service.connect() as asking:
            head = f"POST {query} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}"
            asking.sendall(f"{head}\r\n\r\n".encode() + content)
            wait_until(lambda: service.number("ser_clips_judged") > 0)
            assert service.stop() == 0
            assert answer_of(asking).startswith(b"HTTP/1.1 503")


def test_a_kill_leaves_nothing(model: Path, web: None) -> None:
    with serving(model) as service:
        content = long_request(model)
        with service.connect() as asking, service.connect() as sending:
            head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}"
            asking.sendall(f"{head}\r\n\r\n".encode() + content)
            sending.sendall(f"{head}\r\n\r\n".encode() + content[:-1])
            wait_until(lambda: service.number("ser_clips_judged") > 0)
            service.running.kill()
            service.running.wait()
        assert list((model.parent / "tmp").iterdir()) == []
