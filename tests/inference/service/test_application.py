"""What the service answers: what `ser predict --json` says, or one line of what is wrong."""

import json
import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from pipeline.audio.formats import Samples
from pipeline.inference import listening
from pipeline.inference.judge import Floats
from pipeline.inference.listening import Manner
from pipeline.inference.timeline.formats import as_json
from tests.inference.service.conftest import Serve
from tests.inference.test_listening import CUTTING, JUDGE, steps
from tests.patience import PATIENCE_S, wait_until
from tests.recordings import record, tone

AS_TRAINED = Manner(CUTTING)
TOKEN = "0123456789abcdef"  # noqa: S105 - of the tests alone
BOUNDARY = {"content-type": "multipart/form-data; boundary=b"}
PART = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.wav"\r\n\r\n'


def form(*files: Path) -> list[tuple[str, tuple[str, bytes]]]:
    return [("file", (path.name, path.read_bytes())) for path in files]


def told(files: Sequence[Path], manner: Manner = AS_TRAINED) -> list[dict[str, Any]]:
    """What the command says of them, but the folder."""
    heard = [listening.listen(JUDGE, path, manner) for path in files]
    return [json.loads(as_json(one, JUDGE.classes)) | {"file": one.file.name} for one in heard]


def test_each_file_gets_what_the_command_says(serve: Serve, tmp_path: Path) -> None:
    client, work = serve()
    files = [steps(tmp_path / f"{n} ü.wav", n) for n in (5, 1, 3)]
    answer = client.post("/predict", files=form(*files))
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == told(files)
    assert (work.purse.held, work.count) == (0, {"requests": 0, "streams": 0})


@pytest.mark.parametrize(
    ("query", "manner"),
    [
        ({"segments": "fixed", "segment_s": 1, "hop_s": 0.5}, Manner(CUTTING, "fixed", 0.5)),
        ({"segments": "fixed", "segment_s": 1, "smooth_s": 2}, Manner(CUTTING, "fixed", 0, 2)),
        ({"segment_s": 1}, Manner(CUTTING)),
    ],
)
def test_options_are_those_of_the_command(
    serve: Serve, tmp_path: Path, query: dict[str, Any], manner: Manner
) -> None:
    path = steps(tmp_path / "a.wav", 5)
    answer = serve()[0].post("/predict", params=query, files=form(path))
    short = CUTTING.model_copy(update={"max_clip_s": 1.0})
    expected = told([path], replace(manner, cutting=short))
    assert answer.json() == expected
    assert len(expected[0]["clips"]) in (5, 9)


@pytest.mark.parametrize("kind", ["", "audio/wav", "application/x-www-form-urlencoded"])
def test_a_body_may_be_a_recording(serve: Serve, tmp_path: Path, kind: str) -> None:
    path = steps(tmp_path / "a.wav", 2)
    headers = {"content-type": kind} if kind else {}
    answer = serve()[0].post("/predict", content=path.read_bytes(), headers=headers)
    assert answer.json() == [one | {"file": "-"} for one in told([path])]


def test_a_body_may_come_in_pieces(serve: Serve, tmp_path: Path) -> None:
    path = steps(tmp_path / "a.wav", 2)
    content = path.read_bytes()
    pieces = (content[at : at + 1000] for at in range(0, len(content), 1000))
    answer = serve()[0].post("/predict", content=pieces)
    assert answer.json() == [one | {"file": "-"} for one in told([path])]


def test_dimensions_have_values(serve: Serve, tmp_path: Path) -> None:
    path = steps(tmp_path / "a.wav", 2)
    client, _ = serve(replace(JUDGE, target="dimensions"))
    (found,) = client.post("/predict", files=form(path)).json()
    values = {"high": pytest.approx(0.05, abs=1e-3), "long": 2.0}
    assert (found["values"], "emotion" in found) == (values, False)


def memory_files() -> int:
    links = [one for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    return sum("memfd:upload" in str(one.readlink()) for one in links)


@pytest.mark.parametrize(
    ("content", "headers", "line"),
    [
        (b"", {}, r"-: empty, the file has no bytes"),
        (b"hello", {}, r"-: not WAV, AIFF, FLAC, Ogg or MP3, mend it or convert it to WAV or FLAC"),
        (PART + b"hello\r\n--b--", BOUNDARY, r"a\.wav: not WAV.*"),
        (b"--b--", BOUNDARY, r"body: expected a form of 1 to 64 files .*, got none"),
        (b"", BOUNDARY, r"body: expected a form .*, got one that ends within a part"),
        (PART + b"abc", BOUNDARY, r"body: expected a form .*, got one that ends within a part"),
        (
            PART.replace(b"; filename=", b"; x=") + b"a\r\n--b--",
            BOUNDARY,
            r"body: .*, got a field that is no file",
        ),
        (PART + b"a\r\n--c--", {"content-type": "multipart/form-data"}, r"body: .*boundary.*"),
        (b"hello", BOUNDARY, r"body: expected a form .*"),
        ((PART + b"a\r\n") * 65 + b"--b--", BOUNDARY, r"body: .*Too many files.* 64"),
    ],
)
def test_what_is_no_recording_is_told_in_one_line(
    serve: Serve, content: bytes, headers: dict[str, str], line: str
) -> None:
    client, work = serve()
    answer = client.post("/predict", content=content, headers=headers)
    assert answer.status_code == 422
    assert re.fullmatch(line, answer.json()["detail"])
    assert (work.purse.held, memory_files()) == (0, 0)


def test_one_bad_file_refuses_the_request_and_is_named(serve: Serve, tmp_path: Path) -> None:
    files = [steps(tmp_path / "good.wav", 1), tmp_path / "bad.m4a"]
    files[1].write_bytes(b"\0\0\0\x18ftypM4A " + bytes(100))
    answer = serve()[0].post("/predict", files=form(*files))
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("bad.m4a: ffmpeg: ")
    assert "/proc" not in answer.text


@pytest.mark.parametrize(
    ("query", "line"),
    [
        (
            "segments=turns.csv",
            r"segments: .*'', 'fixed' or 'vad'\), got 'turns.csv'",
        ),
        ("segment_s=0", r"segment_s: .*greater than or equal to 0.5\), got '0'"),
        ("hop_s=nan&segments=fixed", "hop_s: .*, got 'nan'"),
        ("smooth_s=inf", "smooth_s: .*, got 'inf'"),
        ("hop_s=1", "hop_s: of windows, add segments=fixed"),
    ],
)
def test_options_without_sense_are_one_line(serve: Serve, query: str, line: str) -> None:
    answer = serve()[0].post(f"/predict?{query}", content=b"x")
    assert answer.status_code == 422
    assert re.fullmatch(line, answer.json()["detail"])


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_beyond_the_limit_is_refused_before_it_is_held(
    serve: Serve, is_chunked: bool
) -> None:
    client, work = serve(request_bytes=1000)
    held = []

    def pieces() -> Any:
        for _ in range(100):
            held.append(work.purse.held)
            yield bytes(100)

    answer = client.post("/predict", content=pieces() if is_chunked else bytes(1001))
    assert answer.status_code == 413
    line = "body: more than 1000 bytes in a request, send fewer or shorter"
    assert answer.json() == {"detail": line}
    assert max(held, default=0) <= 1000
    assert work.purse.held == 0


def test_a_body_of_just_the_limit_is_read(serve: Serve, tmp_path: Path) -> None:
    path = steps(tmp_path / "a.wav", 1)
    client, _ = serve(request_bytes=path.stat().st_size)
    assert client.post("/predict", content=path.read_bytes()).status_code == 200


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_seconds_are_those_of_all_files_together(
    serve: Serve, tmp_path: Path, rate_hz: int
) -> None:
    files = [steps(tmp_path / f"{n}.wav", n, rate_hz) for n in (3, 2)]
    line = "2.wav: more than 4.5 s of audio in a request, send fewer or shorter"
    answer = serve(audio_s=4.5)[0].post("/predict", files=form(*files))
    assert (answer.status_code, answer.json()) == (413, {"detail": line})
    assert serve(audio_s=5.001)[0].post("/predict", files=form(*files)).status_code == 200


def test_hours_in_a_few_bytes_are_not_decoded(serve: Serve, tmp_path: Path) -> None:
    path = record(tmp_path / "a.flac", np.zeros(16_000 * 1200, np.float32))
    assert path.stat().st_size < 100_000
    answer = serve()[0].post("/predict", files=form(path))
    assert (answer.status_code, "more than 600 s" in answer.text) == (413, True)


class Waiting:
    """A judge that says when it is asked, and answers when it is told to."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.go = threading.Event()
        self.heard: list[int] = []

    def logits(self, waves: Sequence[Samples]) -> Floats:
        self.heard.append(len(waves[0]))
        self.asked.release()
        assert self.go.wait(PATIENCE_S)
        return JUDGE.logits(waves)


def posted(client: TestClient, path: Path) -> tuple[threading.Thread, list[int]]:
    codes: list[int] = []
    content = path.read_bytes()

    def post() -> None:
        with suppress(AssertionError):  # TestClient's, where there is no answer
            codes.append(client.post("/predict", content=content).status_code)

    thread = threading.Thread(target=post)
    thread.start()
    return thread, codes


def test_one_too_many_is_asked_to_wait(serve: Serve, tmp_path: Path) -> None:
    waiting, path = Waiting(), steps(tmp_path / "a.wav", 1)
    client, _ = serve(replace(JUDGE, logits=waiting.logits), at_work=1)
    thread, codes = posted(client, path)
    assert waiting.asked.acquire(timeout=PATIENCE_S)
    answer = client.post("/predict", content=path.read_bytes())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    line = "service: 1 requests are at work already, wait and send it again"
    assert answer.json() == {"detail": line}
    assert "ser_requests_at_work 1.0" in client.get("/metrics").text
    waiting.go.set()
    thread.join()
    assert codes == [200]
    assert client.post("/predict", content=path.read_bytes()).status_code == 200


def test_what_is_at_work_is_finished_and_nothing_new_begun(serve: Serve, tmp_path: Path) -> None:
    waiting, path = Waiting(), steps(tmp_path / "a.wav", 1)
    client, work = serve(replace(JUDGE, logits=waiting.logits))
    thread, codes = posted(client, path)
    assert waiting.asked.acquire(timeout=PATIENCE_S)
    assert client.portal
    client.portal.call(work.stopping.set)
    for method, place in (("POST", "/predict"), ("GET", "/health")):
        answer = client.request(method, place, content=path.read_bytes())
        assert answer.status_code == 503
        assert answer.json() == {"detail": "service: stopping, wait until it is started again"}
    waiting.go.set()
    thread.join()
    assert codes == [200]


def test_requests_take_turns_clip_by_clip(serve: Serve, tmp_path: Path) -> None:
    """A short recording does not wait for the end of a long one."""
    waiting = Waiting()
    client, work = serve(replace(JUDGE, logits=waiting.logits))
    long, short = steps(tmp_path / "a.wav", 9), steps(tmp_path / "b.wav", 1)
    first, _ = posted(client, long)
    assert waiting.asked.acquire(timeout=PATIENCE_S)
    second, _ = posted(client, short)
    wait_until(lambda: work.desk.waiting == 1)
    waiting.go.set()
    first.join()
    second.join()
    assert waiting.heard == [32_000, 16_000, 32_000, 32_000, 32_000, 16_000]


def test_a_defect_is_told_without_what_was_sent(
    serve: Serve, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def logits(_: Sequence[Samples]) -> Floats:
        raise RuntimeError("canary")

    path = steps(tmp_path / "canary.wav", 1)
    client, _ = serve(replace(JUDGE, logits=logits))
    answer = client.post("/predict", files=form(path))
    assert answer.status_code == 500
    assert answer.json() == {"detail": "service: a defect of it, see its log and report it"}
    out, err = capfd.readouterr()
    assert re.fullmatch(r"defect: RuntimeError in logits:\d+ < rows:\d+ < _work:\d+.*\n", err)
    assert "canary" not in out + err
    assert client.get("/health").status_code == 200


def test_nothing_is_logged_of_a_request(
    serve: Serve, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    client, _ = serve()
    client.post("/predict", files=form(steps(tmp_path / "canary.wav", 1)))
    client.post("/predict", content=b"canary")
    client.get("/canary")
    assert capfd.readouterr() == ("", "")
    assert "canary" not in client.get("/metrics").text


@pytest.mark.parametrize("path", ["/predict", "/metrics", "/openapi.json", "/other"])
@pytest.mark.parametrize("given", ["", "Bearer x", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"])
def test_who_has_no_token_is_refused(serve: Serve, path: str, given: str) -> None:
    client, _ = serve(token=TOKEN)
    headers = {"authorization": given} if given else {}
    for answer in (client.post(path, headers=headers), client.get(path, headers=headers)):
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert TOKEN not in answer.text
    assert client.get("/health").status_code == 200


def test_who_has_the_token_may_ask_under_any_name(serve: Serve, tmp_path: Path) -> None:
    client, _ = serve(token=TOKEN)
    headers = {"authorization": f"Bearer {TOKEN}", "host": "ser.example.org"}
    content = steps(tmp_path / "a.wav", 1).read_bytes()
    assert client.post("/predict", content=content, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"host": "evil.example.org"}, 403),
        ({"host": "127.0.0.1.example.org"}, 403),
        ({"host": "[::1"}, 403),
        ({"host": "["}, 403),
        ({"host": ""}, 403),
        ({"host": "localhost:8000"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "127.0.0.2"}, 200),
        ({"origin": "http://evil.example.org"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"origin": "http://127.0.0.1"}, 200),
    ],
)
def test_a_page_of_another_site_may_not_ask(
    serve: Serve, headers: dict[str, str], code: int
) -> None:
    client, _ = serve()
    answer = client.get("/health", headers=headers)
    assert answer.status_code == code
    assert not any(name.startswith("access-control") for name in answer.headers)


def numbers(client: TestClient) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    pairs = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    return {name: float(value) for name, _, value in pairs}


def test_what_is_counted(serve: Serve, tmp_path: Path) -> None:
    client, _ = serve()
    client.post("/predict", files=form(*[steps(tmp_path / f"{n}.wav", n) for n in (5, 1)]))
    client.post("/predict", content=b"x")
    client.get("/no/such/place")
    found = numbers(client)
    assert found['ser_requests_total{code="200",path="/predict"}'] == 1
    assert found['ser_requests_total{code="422",path="/predict"}'] == 1
    assert found['ser_requests_total{code="404",path="other"}'] == 1
    assert found["ser_audio_seconds_total"] == 6
    assert found["ser_clips_judged"] == 4
    assert found['ser_request_seconds_count{path="/predict"}'] == 2
    assert found["ser_requests_at_work"] == found["ser_held_bytes"] == 0


def test_bytes_of_all_bodies_are_bounded(serve: Serve) -> None:
    client, work = serve(request_bytes=100, at_work=2)
    with work.purse.opened() as take:
        take(150)
        assert client.post("/predict", content=bytes(60)).status_code == 429
        assert client.post("/predict", content=bytes(50)).status_code == 422
    assert work.purse.held == 0


def test_examples_are_of_the_model(serve: Serve, tmp_path: Path) -> None:
    client, _ = serve()
    document = client.get("/openapi.json").json()
    responses = document["paths"]["/predict"]["post"]["responses"]
    (example,) = responses["200"]["content"]["application/json"]["example"]
    (answer,) = client.post("/predict", files=form(steps(tmp_path / "a.wav", 1))).json()
    assert example.keys() == answer.keys()
    assert example["probabilities"].keys() == answer["probabilities"].keys()
    assert set(responses) == {"200", "403", "408", "413", "422", "429", "503"}
    assert "http" not in json.dumps(document["paths"]).replace("httpx", "")


def test_pages_that_load_scripts_from_elsewhere_are_not_there(serve: Serve) -> None:
    client, _ = serve()
    assert {client.get(path).status_code for path in ("/docs", "/redoc", "/")} == {404}


def test_work_ends_where_nobody_waits_for_it(serve: Serve, tmp_path: Path) -> None:
    """The client gets no answer: who tells the work so has cut the connection, or is about to."""
    waiting = Waiting()
    client, work = serve(replace(JUDGE, logits=waiting.logits))
    thread, codes = posted(client, steps(tmp_path / "a.wav", 9))
    assert waiting.asked.acquire(timeout=PATIENCE_S)
    assert client.portal
    client.portal.call(work.abandon)
    waiting.go.set()
    thread.join()
    assert (waiting.heard, codes) == ([32_000], [])
    assert (work.count["requests"], work.purse.held, memory_files()) == (0, 0, 0)


def test_a_long_tone_is_not_refused(serve: Serve, tmp_path: Path) -> None:
    path = record(tmp_path / "a.flac", tone(30.0))
    assert len(told([path])[0]["clips"]) == 15
    assert serve()[0].post("/predict", files=form(path)).json() == told([path])
