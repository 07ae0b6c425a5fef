"""Models that travel by the hub: pushed to one of this machine and read from it again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.audio.segments import Cutting
from pipeline.cli import export, predict
from pipeline.encoders.hub import Pin
from pipeline.ground.errors import PipelineError
from pipeline.inference import passport, remote
from pipeline.methods import preprocessing
from tests import hub as hubs
from tests.hub import COMMIT, Hub, ser
from tests.methods.test_classifier import saved, trained
from tests.recordings import record, tone
from tests.speech import small_encoder


@pytest.fixture
def exported(project: Path) -> Path:
    """A model of a classifier that knows its cutting, and a recording beside it."""
    folder = saved(trained(small_encoder(project / "artifacts/encoders/tiny"), "full"), Path("m"))
    preprocessing.write(folder, Cutting(max_clip_s=0.5, last_clip="shorter", trim_db=None))
    export.main(folder, project / "model")
    record(project / "a.wav", tone(1.2))
    return project / "model"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with hubs.serving() as hub:
        yield hub


def test_a_model_is_pushed_and_used_by_its_name(
    exported: Path, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (exported / "notes.bin").write_bytes(b"no part of the format")
    pushed = ser(hub, tmp_path / "one", "push", str(exported), "a-lab/emotions", "--private")
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout == f"hf:a-lab/emotions@{COMMIT}\n"
    assert hub.private == {"a-lab/emotions"}
    held = hub.files["a-lab/emotions"]
    assert "notes.bin" not in held
    assert held["model.safetensors"] == (exported / "model.safetensors").read_bytes()
    assert {"README.md", "SHA256SUMS", "model.json", "preprocess.json"} <= held.keys()

    hub.files["a-lab/emotions"]["strange.bin"] = b"never fetched"
    other, told = tmp_path / "two", pushed.stdout.strip()
    words = ["predict", str(exported.parent / "a.wav"), "--threads", "1", "--model"]
    capsys.readouterr()
    predict.main([exported.parent / "a.wav"], str(exported), threads=1)
    local = capsys.readouterr().out
    away = ser(hub, other, *words, told)
    assert away.returncode == 0, away.stderr
    assert away.stdout == local
    assert len(away.stdout.splitlines()) > 2
    assert not list(other.rglob("strange.bin"))
    again = ser(hub, other, *words, told, offline=True)
    assert again.stdout == local, again.stderr


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("hf:a-lab/emotions", "expected hf:OWNER/NAME@REVISION"),
        ("hf:emotions@main", "expected hf:OWNER/NAME@REVISION"),
        ("hf:a-lab/nothing@main", "hf:a-lab/nothing@main: not in the hub's cache"),
    ],
)
def test_a_name_that_leads_nowhere_is_one_line(
    hub: Hub, tmp_path: Path, model: str, told: str
) -> None:
    done = ser(hub, tmp_path / "here", "predict", "a.wav", "--model", model)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert told in done.stderr


def test_what_is_no_exported_model_is_not_pushed(exported: Path) -> None:
    with pytest.raises(PipelineError, match=r"m: no model\.json, expected a model that `ser exp"):
        remote.push(Path("m"), "a-lab/emotions", private=False)
    with pytest.raises(PipelineError, match="emotions: expected OWNER/NAME"):
        remote.push(exported, "emotions", private=False)


def test_a_pinned_encoder_must_be_the_one_it_was_trained_on(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.encoders import encoder, hub, layout

    kept = small_encoder(project / "published")
    asked: list[Pin] = []

    def load(_: str, pin: Pin) -> object:
        asked.append(pin)
        return encoder.load(kept)

    monkeypatch.setattr(hub, "load", load)
    monkeypatch.setenv("SER_CACHE", str(project / "cache"))
    told = passport.Pinned(
        name="some",
        repository="someone/some",
        revision=COMMIT,
        file="model.safetensors",
        sha256="ab" * 32,
        weights_sha256=layout.weights_sha256(kept),
    )
    found = remote.encoder(told)
    assert layout.weights_sha256(found) == told.weights_sha256
    assert remote.encoder(told) == found and len(asked) == 1
    with pytest.raises(PipelineError, match="not the one that the model was trained on"):
        remote.encoder(told.model_copy(update={"weights_sha256": "cd" * 32}))
    with pytest.raises(PipelineError, match="no whole pin"):
        remote.encoder(told.model_copy(update={"file": "", "weights_sha256": "ef" * 32}))
