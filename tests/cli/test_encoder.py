"""ser encoder pin: only what is missing, and nothing else in params.yaml."""

import difflib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.cli.encoder import filled, main
from pipeline.encoders.hub import Pin
from pipeline.ground import params
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


def test_a_silent_hub_is_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: Any, **__: Any) -> None:
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", silent)
    before = PARAMS.read_bytes()
    with pytest.raises(PipelineError, match=r"encoder\.hubert-large: the hub gives no answer"):
        main("pin", "hubert-large")
    assert PARAMS.read_bytes() == before


def test_an_encoder_in_another_style_is_left_to_the_user() -> None:
    text = "encoder:\n  one: {revision: ''}\nextract:\n  one:\n    revision: ''\n"
    with pytest.raises(PipelineError, match=r"no line 'revision' under encoder\.one, set it by"):
        filled(text, "one", {"revision": NEWEST})
