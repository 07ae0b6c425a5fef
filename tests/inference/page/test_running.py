"""`ser web` in a process of its own, asked as a browser asks it."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="could not import 'gradio'")

import httpx
from gradio_client import Client, handle_file

from tests.inference.page.served import model_of, serving
from tests.patience import PATIENCE_S
from tests.recordings import record, tone


def downloads(html: str) -> dict[str, str]:
    """What the links of an answer save, by its suffix."""
    found = re.findall(r'download="[^"]*\.(\w+)" href="data:[^;]*;base64,([^"]*)"', html)
    return {kind: base64.b64decode(text).decode() for kind, text in found}


def predicted(file: Path, model: Path, *words: str) -> str:
    command = [sys.executable, "-m", "ser_pipeline", "predict", file.name, "--model", str(model)]
    done = subprocess.run(
        [*command, "--threads", "1", *words],
        cwd=file.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_its_answer_is_that_of_predict_and_nothing_is_left(project: Path, tmp_path: Path) -> None:
    model, kept = model_of(project), tmp_path / "kept"
    kept.mkdir()
    file = record(tmp_path / "talk.wav", tone(1.2))
    with serving(model, "--threads", "1", TMPDIR=str(kept)) as (address, process):
        client = Client(address, verbose=False, analytics_enabled=False, download_files=False)
        html = client.predict(handle_file(file), "as in training", 0.5, api_name="/listen")
        bad = record(tmp_path / "short.wav", tone(0.001))
        line = client.predict(handle_file(bad), "as in training", 0.5, api_name="/listen")
        assert list(kept.iterdir())
        process.terminate()
        assert process.wait() == 0
    assert list(kept.iterdir()) == []
    held = downloads(html)
    assert json.loads(held["json"]) == json.loads(predicted(file, model, "--json"))
    assert held["csv"] == predicted(file, model, "--format", "csv")
    assert 'role="alert"' in line
    assert re.search(r">short\.wav: too_short, [^<]*<", line)


def test_a_token_is_asked_for(project: Path) -> None:
    """Without it, nothing but the page to log in at."""
    token = project / "token"
    token.write_text("0123456789abcdef\n")
    with (
        serving(model_of(project), "--token-file", token) as (address, _),
        httpx.Client(base_url=address, timeout=PATIENCE_S) as client,
    ):
        assert client.get("/config").status_code == 401
        wrong = {"username": "a", "password": "0123456789abcdeg"}
        assert client.post("/login", data=wrong).status_code == 400
        assert client.get("/config").status_code == 401
        right = {"username": "a", "password": "0123456789abcdef"}
        assert client.post("/login", data=right).status_code == 200
        assert client.get("/config").status_code == 200
