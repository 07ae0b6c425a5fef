"""Who may reach the page, and what its options refuse before a model is loaded."""

import os
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.cli.served import entrance, web
from pipeline.demo import examples
from pipeline.inference.page import running
from pipeline.inference.timeline import reading

GOOD = "0123456789abcdef"


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main.app(["web", *words])
    assert ended.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org", ""])  # noqa: S104
def test_elsewhere_it_demands_a_token(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.delenv("SER_TOKEN", raising=False)
    assert "expected a token" in refused(capsys, "model", "--host", host)
    monkeypatch.setenv("SER_TOKEN", GOOD)
    assert entrance.token(None, host) == GOOD


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_loopback_it_demands_none(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SER_TOKEN", raising=False)
    assert entrance.token(None, host) == ""


@pytest.mark.parametrize("content", ["", "\n", "short", GOOD[:-1], "pass word pass word", "ä" * 20])
def test_a_token_that_can_be_guessed_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    file = tmp_path / "token"
    file.write_text(content, "utf-8")
    line = refused(capsys, "model", "--token-file", str(file))
    assert line.startswith(f"{file}: expected 16 or more")
    assert not content.strip() or content.strip() not in line


def test_the_token_of_a_file_goes_before_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SER_TOKEN", "f" * 16)
    (tmp_path / "token").write_text(f"{GOOD}\n")
    assert entrance.token(tmp_path / "token", "127.0.0.1") == GOOD
    assert "SER_TOKEN" not in os.environ


@pytest.mark.parametrize("text", ["1", "7,1", "1,1", "a,b", "1,2,3", "nan,1", ","])
def test_a_scale_has_two_ends(capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert refused(capsys, "model", "--scale", text).startswith("--scale: expected LOW,HIGH")


def test_without_the_extra_it_names_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    line = refused(capsys, "model")
    assert line == "gradio: not installed, run `pip install 'ser-pipeline[web]'`"


def test_examples_are_given_or_spoken(tmp_path: Path) -> None:
    found = web._voices(tmp_path)
    assert [path.stem for path in found] == list(examples.EXAMPLES)
    for path in found:
        assert 1 < len(reading.sound_of(path)) / 16_000 < 15
    (tmp_path / "page").mkdir()
    copies = running.copies(found)(tmp_path / "page")
    assert [path.read_bytes() for path in copies] == [path.read_bytes() for path in found]
    assert [path.name for path in copies] == [path.name for path in found]
