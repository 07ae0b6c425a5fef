"""`ser web` in a process of its own, asked as a browser asks it."""

import contextlib
import io
import re
from pathlib import Path

import httpx
import pytest

from pipeline.cli import main as cli
from pipeline.ground import stage
from tests.inference.page.served import WEB, asked, model_of, serving
from tests.patience import PATIENCE_S
from tests.recordings import record, tone


def predicted(file: Path, model: Path, *words: str) -> str:
    """What `ser predict` prints in the folder of the file; here, where all is imported already."""
    command = ["predict", file.name, "--model", str(model), "--threads", "1", *words]
    with (
        contextlib.chdir(file.parent),
        contextlib.redirect_stdout(io.StringIO()) as printed,
        pytest.raises(SystemExit) as ended,
    ):
        cli.app(command)
    assert not ended.value.code
    stage.set_threads(1)  # whatever the words said
    return printed.getvalue()


def test_its_answer_is_that_of_predict_and_nothing_is_left(project: Path, tmp_path: Path) -> None:
    model, kept = model_of(project), tmp_path / "kept"
    kept.mkdir()
    file = record(tmp_path / "talk.wav", tone(1.2))
    command: list[str | Path] = [*WEB, model, "--port", "0", "--threads", "1"]
    with serving(command, TMPDIR=str(kept)) as (address, process):
        answer = asked(address, file)
        problem = asked(address, record(tmp_path / "short.wav", tone(0.001)))["html"]
        assert list(kept.iterdir())
        for name, status in {"evil.example": 400, "localhost:80": 200}.items():
            headers = {"host": name}
            assert httpx.get(address, headers=headers, timeout=PATIENCE_S).status_code == status
        process.terminate()
        assert process.wait() == 0
    assert list(kept.iterdir()) == []
    assert answer["json"] == predicted(file, model, "--json")
    assert answer["csv"] == predicted(file, model, "--format", "csv")
    assert re.search(r'role="alert"[^>]*>short\.wav: too_short, [^<]*<', problem)


def test_a_token_is_asked_for(project: Path) -> None:
    """Without it, nothing but the page to log in at."""
    token = project / "token"
    token.write_text("0123456789abcdef\n")
    with (
        serving([*WEB, model_of(project), "--port", "0", "--token-file", token]) as (address, _),
        httpx.Client(base_url=address, timeout=PATIENCE_S) as client,
    ):
        assert client.get("/config").status_code == 401
        wrong = {"username": "a", "password": "0123456789abcdeg"}
        assert client.post("/login", data=wrong).status_code == 400
        assert client.get("/config").status_code == 401
        right = {"username": "a", "password": "0123456789abcdef"}
        assert client.post("/login", data=right).status_code == 200
        assert client.get("/config").status_code == 200
