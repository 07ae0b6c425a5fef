"""Models that name their encoder and do not hold it: fetched from a hub here, checked and used."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.cli import export
from pipeline.encoders import layout
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.inference import judge
from tests import hub as hubs
from tests.hub import COMMIT, Hub, ser
from tests.inference.exporting import models

REPOSITORY = "a-lab/hubert"
FILES = (layout.WEIGHTS, layout.CONFIG, layout.PREPROCESSOR)
PINNED: dict[str, Callable[[], Path]] = {
    "linear": lambda: models.linear("hubert", deviation=True),
    "frozen": lambda: models.head("hubert", layer=-2),
    "frozen, bilstm": lambda: models.head("hubert", head="bilstm"),
    "lora-classifier": lambda: models.head("hubert", "lora-classifier", head="attentive"),
    "dimensions": lambda: models.head("hubert", told=models.CCC, head="mean-max"),
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hubs.serving() as hub:
        yield hub


def published(hub: Hub) -> Path:
    """An encoder that the project has from the hub."""
    place = models.encoder_of("hubert")[0]
    hub.files[REPOSITORY] = {name: (place / name).read_bytes() for name in FILES}
    sha256 = files.sha256(place / layout.WEIGHTS)
    layout.Source(REPOSITORY, COMMIT, layout.WEIGHTS, sha256, "mit").write(place)
    return place


def exported(name: str) -> Path:
    """Its classifier gave this; what it is called."""
    folder, out = PINNED[name](), Path(name.replace(", ", "-"))
    export.main(folder, out, pin=True)
    folder.rename(f"{out}-origin")
    return out.absolute()


@pytest.fixture
def wave(project: Path) -> Path:
    noise = 0.1 * np.random.default_rng(0).standard_normal(20_000)
    soundfile.write("a.wav", noise, 16_000)
    return Path("a.wav").absolute()


def test_every_method_finds_its_encoder_by_its_pin(
    project: Path, hub: Hub, wave: Path, tmp_path: Path
) -> None:
    published(hub)
    far = tmp_path / "far"
    for number, name in enumerate(PINNED):
        out = exported(name)
        assert not (out / "encoder").exists()
        assert json.loads((out / "model.json").read_text())["encoder"]["revision"] == COMMIT
        words = ["predict", str(wave), "--json", "--threads", "1", "--model", str(out)]
        # The first one is fetched, the others find it in the cache.
        done = ser(hub, far, *words, offline=number > 0)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        local = judge.load(Path(f"{out}-origin"), "cpu")
        logits = local.logits([soundfile.read(wave, dtype="float32")[0]])[0]
        if "values" in told:
            found, expected = told["values"], logits
        else:
            found, expected = told["probabilities"], np.exp(logits) / np.exp(logits).sum()
        assert list(found) == local.classes
        np.testing.assert_allclose(list(found.values()), expected, atol=1e-5)


@pytest.mark.parametrize("what", ["weights", "nothing"])
def test_another_encoder_under_the_pin_is_refused(
    project: Path, hub: Hub, wave: Path, tmp_path: Path, what: str
) -> None:
    published(hub)
    out = exported("linear")
    held = hub.files[REPOSITORY]
    if what == "weights":
        other = models.encoder_of("large")[0]
        held[layout.WEIGHTS] = (other / layout.WEIGHTS).read_bytes()
    else:
        held.clear()
    done = ser(hub, tmp_path / "far", "predict", str(wave), "--model", str(out))
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    expected = {
        "weights": "expected sha256",
        "nothing": "cannot be fetched",
    }
    assert expected[what] in done.stderr
    assert not list((tmp_path / "far/own").rglob("*.safetensors"))


def test_what_has_no_pin_is_one_line(project: Path, hub: Hub) -> None:
    published(hub)
    folder = models.whole("hubert")
    with pytest.raises(PipelineError, match="full trained its encoder, which no pin names"):
        export.main(folder, Path("out"), pin=True)
    folder.rename("full")
    with pytest.raises(PipelineError, match="is no published one, export it without --pin"):
        export.main(models.linear("fbank"), Path("out"), pin=True)
    Path("m").rename("fbank")
    with pytest.raises(PipelineError, match="--onnx: the graph holds the encoder"):
        export.main(models.linear("hubert"), Path("out"), onnx=True, pin=True)
    assert not Path("out").exists()


def test_two_at_once_fetch_one_encoder(project: Path, hub: Hub, wave: Path, tmp_path: Path) -> None:
    """Each finds the whole encoder, whichever published it first."""
    published(hub)
    out = exported("linear")
    place = tmp_path / "far"
    place.mkdir()
    words = [sys.executable, "-m", "pipeline.cli.main", "predict", str(wave), "--model", str(out)]
    environment = hubs.environment(hub, place)
    both = [
        subprocess.Popen(words, cwd=place, env=environment, stdout=-1, stderr=-1, text=True)
        for _ in range(2)
    ]
    ends = [one.communicate(timeout=600) for one in both]
    assert [one.returncode for one in both] == [0, 0], ends
    assert ends[0][0] == ends[1][0] != ""
