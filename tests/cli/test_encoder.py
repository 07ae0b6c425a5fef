"""ser encoder pin: only what is missing, and nothing else in params.yaml."""

import difflib
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from pipeline.cli.hub.encoder import filled, main
from pipeline.encoders.hub import Pin, load
from pipeline.ground import params
from pipeline.ground.code import ROOT
from pipeline.ground.errors import PipelineError

NEWEST, CHECKSUM = "ab" * 20, "cd" * 32
PARAMS = Path("params.yaml")


@pytest.fixture
def asked(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The revisions that a stand-in for the hub's API was asked about."""
    revisions: list[str | None] = []

    def model_info(_self: Any, _repository: str, revision: str | None, **_: Any) -> Any:
        revisions.append(revision)
        lfs = SimpleNamespace(sha256=CHECKSUM)
        siblings = [
            SimpleNamespace(rfilename="config.json", lfs=None),
            SimpleNamespace(rfilename="pytorch_model.bin", lfs=lfs),
        ]
        return SimpleNamespace(sha=revision or NEWEST, siblings=siblings)

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", model_info)
    return revisions


def changed(before: str) -> list[str]:
    """The lines of params.yaml that are new."""
    lines = difflib.ndiff(before.splitlines(), PARAMS.read_text("utf-8").splitlines())
    return [line[2:].split("#")[0].strip() for line in lines if line.startswith("+ ")]


def test_a_missing_pin_is_filled_in(asked: list[str | None]) -> None:
    before = PARAMS.read_text("utf-8")
    main("pin", "wav2vec2-large")
    assert asked == [None]
    assert changed(before) == [f"revision: {NEWEST}", f"sha256: {CHECKSUM}"]
    params.read.cache_clear()
    pin = params.load("encoder.wav2vec2-large", Pin)
    assert (pin.revision, pin.sha256) == (NEWEST, CHECKSUM)


def test_a_revision_that_is_given_stays(asked: list[str | None]) -> None:
    before = PARAMS.read_text("utf-8")
    main("pin", "hubert-large")
    assert asked == ["ff022d095678a2995f3c49bab18a96a9e553f782"]
    assert changed(before) == [f"sha256: {CHECKSUM}"]


def test_a_pinned_encoder_is_left_alone(asked: list[str | None]) -> None:
    before = PARAMS.read_bytes()
    main("pin", "hubert-base")
    assert asked == []
    assert PARAMS.read_bytes() == before


@pytest.mark.parametrize(
    ("revision", "sha256", "told"),
    [
        ("main", CHECKSUM, "'main' as the revision"),
        (NEWEST.upper(), CHECKSUM, "as the revision"),
        (f"{NEWEST}\n", CHECKSUM, "as the revision"),
        (f"{NEWEST}  # x\n    file: evil", CHECKSUM, "as the revision"),
        (NEWEST, "cd" * 20, "as the sha256"),
        (NEWEST, f"{CHECKSUM[:-1]}g", "as the sha256"),
        (NEWEST, CHECKSUM + "0", "as the sha256"),
        (NEWEST, None, "None as the sha256"),
        (NEWEST, 5, "5 as the sha256"),
        (["x" * 500], CHECKSUM, "as the revision"),
    ],
)
def test_what_the_hub_answers_is_looked_at_before_it_is_written(
    project: Path, monkeypatch: pytest.MonkeyPatch, revision: Any, sha256: Any, told: str
) -> None:
    lfs = SimpleNamespace(sha256=sha256)
    sibling = SimpleNamespace(rfilename="pytorch_model.bin", lfs=lfs)
    answer = SimpleNamespace(sha=revision, siblings=[sibling])
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: answer)
    before = PARAMS.read_bytes()
    with pytest.raises(PipelineError, match=r"^encoder\.wav2vec2-large: the hub gives ") as caught:
        main("pin", "wav2vec2-large")
    assert told in str(caught.value) and len(str(caught.value)) < 300
    assert PARAMS.read_bytes() == before


def test_an_answer_about_another_commit_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lfs = SimpleNamespace(sha256=CHECKSUM)
    sibling = SimpleNamespace(rfilename="pytorch_model.bin", lfs=lfs)
    answer = SimpleNamespace(sha=NEWEST, siblings=[sibling])
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: answer)
    before = PARAMS.read_bytes()
    with pytest.raises(PipelineError, match=f"answers for commit {NEWEST}"):
        main("pin", "hubert-large")
    assert PARAMS.read_bytes() == before


class StrangeError(Exception):
    """Of a library below the hub's: no kind that anyone names."""


@pytest.mark.parametrize("error", [OSError("no route"), StrangeError("two\nlines"), KeyError()])
def test_a_silent_hub_is_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def silent(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", silent)
    before = PARAMS.read_bytes()
    told = r"encoder\.hubert-large: the hub gives no answer"
    with pytest.raises(PipelineError, match=told) as caught:
        main("pin", "hubert-large")
    assert "\n" not in str(caught.value)
    assert PARAMS.read_bytes() == before


def test_without_a_network_it_is_one_line(project: Path, tmp_path: Path) -> None:
    """The real client, at a port that is taken and where no one listens."""
    command = [sys.executable, "-m", "pipeline.cli.main", "encoder", "pin", "hubert-large"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "0"}
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        hub = "http://{}:{}".format(*silent.getsockname())
        environment |= {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert "the hub gives no answer about facebook/hubert-large" in done.stderr


def test_a_full_disk_is_not_laid_at_the_hubs_door(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", Mock(side_effect=full))
    pin = params.load("encoder.hubert-base", Pin)
    with pytest.raises(OSError, match="No space left"):
        load("hubert-base", pin)


def test_an_encoder_in_another_style_is_left_to_the_user() -> None:
    text = "encoder:\n  one: {revision: ''}\nextract:\n  one:\n    revision: ''\n"
    with pytest.raises(PipelineError, match=r"no line 'revision' under encoder\.one, set it by"):
        filled(text, "one", {"revision": NEWEST})
