"""Models that name their encoder and do not hold it: fetched from a hub here, checked and used."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from pipeline.cli import export
from pipeline.encoders import layout
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.inference import judge
from tests import hub as hubs
from tests.hub import COMMIT, Hub
from tests.inference.exporting import models

REPOSITORY = "a-lab/hubert"
FILES = (layout.WEIGHTS, layout.CONFIG, layout.PREPROCESSOR)
WAVE = 0.1 * np.random.default_rng(0).standard_normal(20_000).astype(np.float32)
PINNED: dict[str, Callable[[], Path]] = {
    "linear": lambda: models.linear("hubert", deviation=True),
    "frozen": lambda: models.head("hubert", layer=-2),
    "frozen, bilstm": lambda: models.head("hubert", head="bilstm"),
    "lora-classifier": lambda: models.head("hubert", "lora-classifier", head="attentive"),
    "dimensions": lambda: models.head("hubert", told=models.CCC, head="mean-max"),
}


@pytest.fixture
def hub(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """One that has the project's encoder; nothing is in the caches of this user."""
    place = models.encoder_of("hubert")[0]
    with hubs.serving() as hub:
        hub.files[REPOSITORY] = {name: (place / name).read_bytes() for name in FILES}
        sha256 = files.sha256(place / layout.WEIGHTS)
        layout.Source(REPOSITORY, COMMIT, layout.WEIGHTS, sha256, "mit").write(place)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        forget(project / "first", monkeypatch)
        yield hub


def forget(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be another user, of another machine."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(place / "hf"))
    monkeypatch.setenv("SER_CACHE", str(place / "own"))


@pytest.mark.parametrize("name", PINNED)
def test_every_method_finds_its_encoder_by_its_pin(
    project: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = PINNED[name]()
    export.main(folder, Path("out"), pin=True)
    assert not Path("out/encoder").exists()
    assert json.loads(Path("out/model.json").read_text())["encoder"]["revision"] == COMMIT
    expected = judge.load(folder, "cpu")
    (project / "artifacts").rename("elsewhere")
    forget(project / "second", monkeypatch)
    found = judge.load(Path("out"), "cpu")
    assert (found.target, found.classes) == (expected.target, expected.classes)
    # An adapter is merged, which moves the last bits.
    np.testing.assert_allclose(found.logits([WAVE]), expected.logits([WAVE]), rtol=1e-5)
    hub.files.clear()  # what was fetched is kept
    assert judge.load(Path("out"), "cpu").logits([WAVE]).tolist() == found.logits([WAVE]).tolist()


def test_another_encoder_under_the_pin_is_refused(
    project: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    export.main(models.linear("hubert"), Path("out"), pin=True)
    forget(project / "second", monkeypatch)
    other = models.encoder_of("large")[0]
    hub.files[REPOSITORY][layout.WEIGHTS] = (other / layout.WEIGHTS).read_bytes()
    with pytest.raises(PipelineError, match=r"expected sha256 .* and do not trust where it "):
        judge.load(Path("out"), "cpu")
    forget(project / "third", monkeypatch)
    hub.files.clear()
    with pytest.raises(PipelineError, match="cannot be fetched"):
        judge.load(Path("out"), "cpu")


def test_what_has_no_pin_is_one_line(hub: Hub) -> None:
    with pytest.raises(PipelineError, match="full trained its encoder, which no pin names"):
        export.main(models.whole("hubert"), Path("out"), pin=True)
    Path("m").rename("full")
    with pytest.raises(PipelineError, match="is no published one, export it without --pin"):
        export.main(models.linear("fbank"), Path("out"), pin=True)
    Path("m").rename("fbank")
    with pytest.raises(PipelineError, match="--onnx: the graph holds the encoder"):
        export.main(models.linear("hubert"), Path("out"), onnx=True, pin=True)
    assert not Path("out").exists()
