"""encoder: an untrained and a shipped one, front ends and pins, as params.yaml asks for them."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.encoders import encoder, forward, frontends, hub
from pipeline.ground import files, params, provenance
from pipeline.ground.errors import PipelineError
from pipeline.ground.files import sha256
from stages.encoder import main
from tests.conftest import ROOT
from tests.speech import SMALL, small_encoder

ENCODERS = Path("artifacts/encoders")


def test_an_untrained_encoder_follows_from_the_seed_and_trains(project: Path) -> None:
    main("untrained")
    folder = ENCODERS / "untrained"
    first = sha256(folder / "model.safetensors")
    main("untrained")
    assert sha256(folder / "model.safetensors") == first
    model = encoder.load(folder)
    assert len(model.encoder.layers) == 12
    assert 1.5e6 < sum(p.numel() for p in model.parameters()) < 2.2e6
    states, _ = forward.hidden(model, [torch.randn(16000)], [-3, "last"])
    assert states[-3].shape == (1, 49, 128)
    text = Path("params.yaml").read_text("utf-8").replace("seed: 1\n", "seed: 2\n")
    Path("params.yaml").write_text(text, "utf-8")
    params.read.cache_clear()
    main("untrained")
    assert sha256(folder / "model.safetensors") != first


@pytest.mark.parametrize("name", ["fbank", "mfcc", "egemaps"])
def test_a_front_end_is_its_settings(project: Path, name: str) -> None:
    main(name)
    config = json.loads((ENCODERS / name / "config.json").read_text("utf-8"))
    assert frontends.parse(config)
    held = {path.name for path in (ENCODERS / name).iterdir()}
    assert held == {"config.json", files.SUMS, provenance.FILE}


def test_a_pinned_encoder_keeps_its_provenance(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pin of the committed params.yaml; what the hub gives is tested in test_hub."""
    monkeypatch.setattr(hub, "load", lambda name, pin: encoder.initialize(SMALL, 0))
    main("hubert-base")
    source = json.loads((ENCODERS / "hubert-base" / "source.json").read_text("utf-8"))
    assert source["repository"] == "facebook/hubert-base-ls960"
    assert source["revision"] == "dba3bb02fda4248b6e082697eee756de8fe8aa8a"
    assert source["sha256"].startswith("062249fffb35")


@pytest.mark.parametrize("name", ["wav2vec2-large", "hubert-large-superb-er", "hubert-large"])
def test_an_unpinned_encoder_stops(project: Path, name: str) -> None:
    with pytest.raises(PipelineError, match=f"encoder.{name}.* is empty"):
        main(name)
    assert not ENCODERS.exists()


def test_an_unknown_encoder_or_kind_is_named(project: Path) -> None:
    with pytest.raises(PipelineError, match=r"no 'hubert-basis' under encoder.*'hubert-base'"):
        main("hubert-basis")
    text = Path("params.yaml").read_text("utf-8").replace("kind: tiny", "kind: teeny")
    Path("params.yaml").write_text(text, "utf-8")
    params.read.cache_clear()
    with pytest.raises(
        PipelineError, match=r"encoder\.untrained\.kind must be one of 'tiny', .*'teeny'"
    ):
        main("untrained")


@pytest.fixture
def shipped(project: Path) -> Path:
    """A folder as it lies in the repository, in fp16, and its entry."""
    folder = small_encoder(project / "encoders/small")
    weights = folder / "model.safetensors"
    save_file({k: v.half() for k, v in load_file(weights).items()}, weights)
    pin(folder)
    return folder


def listed(folder: Path) -> None:
    """Write the checksums of what a folder holds."""
    held = sorted(path for path in folder.iterdir() if path.name != files.SUMS)
    (folder / files.SUMS).write_text("".join(f"{sha256(p)}  {p.name}\n" for p in held))


def pin(folder: Path) -> None:
    """Pin a folder in params.yaml."""
    listed(folder)
    text = Path("params.yaml").read_text("utf-8").split("  small:\n")
    held = sha256(folder / files.SUMS)
    entry = f"    kind: shipped\n    folder: encoders/small\n    sha256: {held}\n"
    at = text[0].index("\nencoder:\n") + len("\nencoder:\n")
    Path("params.yaml").write_text(f"{text[0][:at]}  small:\n{entry}{text[0][at:]}", "utf-8")
    params.read.cache_clear()


def test_a_shipped_encoder_is_taken_as_it_lies_there(shipped: Path) -> None:
    main("small")
    stored, found = load_file(shipped / "model.safetensors"), encoder.load(ENCODERS / "small")
    assert found.state_dict().keys() == stored.keys()
    for name, values in found.state_dict().items():
        assert values.dtype is torch.float32
        assert torch.equal(values, stored[name].float()), name
    source = json.loads((ENCODERS / "small" / "source.json").read_text("utf-8"))
    assert source["file"] == "encoders/small/model.safetensors"
    assert source["sha256"] == sha256(shipped / "model.safetensors")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("how", ["edited", "missing"])
def test_whatever_a_shipped_encoder_follows_from_is_pinned(
    shipped: Path, name: str, how: str
) -> None:
    """A dropout in its settings changes results as a weight does."""
    path = shipped / name
    content = path.read_bytes()
    path.unlink()
    if how == "edited":
        path.write_bytes(content + b" ")
    told = rf"encoders/small/{name}: expected sha256 .* \(encoder\.small\), .*git checkout"
    with pytest.raises(PipelineError, match=told):
        main("small")
    assert not ENCODERS.exists()
    # A list that was made to fit is another list.
    if how == "edited":
        listed(shipped)
        with pytest.raises(PipelineError, match="SHA256SUMS: expected sha256"):
            main("small")


@pytest.mark.parametrize("folder", ["/encoders/small", "../small", "encoders/../..", ""])
def test_a_shipped_encoder_lies_within_the_project(shipped: Path, folder: str) -> None:
    text = Path("params.yaml").read_text("utf-8")
    Path("params.yaml").write_text(text.replace("folder: encoders/small", f"folder: '{folder}'"))
    params.read.cache_clear()
    with pytest.raises(PipelineError, match=r"encoder\.small\.folder must match"):
        main("small")


def test_what_the_repository_ships_fits_its_pin(project: Path) -> None:
    """The encoder of the demo: at most 4 MB and two million parameters, twelve blocks."""
    (project / "encoders").symlink_to(ROOT / "encoders")
    main("tiny")
    model = encoder.load(ENCODERS / "tiny")
    assert len(model.encoder.layers) == 12
    assert sum(p.numel() for p in model.parameters()) <= 2e6
    assert (ROOT / "encoders/tiny/model.safetensors").stat().st_size <= 4e6
    states, _ = forward.hidden(model, [torch.randn(16000)], [-6])
    assert states[-6].isfinite().all()
