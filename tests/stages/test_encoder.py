"""encoder: the tiny one, front ends and pins, as params.yaml asks for them."""

import json
from pathlib import Path

import pytest
import torch

from pipeline.encoders import encoder, forward, frontends, hub
from pipeline.ground import files, params, provenance
from pipeline.ground.errors import PipelineError
from pipeline.ground.files import sha256
from stages.encoder import main
from tests.speech import SMALL

ENCODERS = Path("artifacts/encoders")


def test_the_tiny_encoder_follows_from_the_seed_and_trains(project: Path) -> None:
    main("tiny")
    folder = ENCODERS / "tiny"
    first = sha256(folder / "model.safetensors")
    main("tiny")
    assert sha256(folder / "model.safetensors") == first
    model = encoder.load(folder)
    assert len(model.encoder.layers) == 12
    assert 1.5e6 < sum(p.numel() for p in model.parameters()) < 2.2e6
    states, _ = forward.hidden(model, [torch.randn(16000)], [-3, "last"])
    assert states[-3].shape == (1, 49, 128)
    text = Path("params.yaml").read_text("utf-8").replace("seed: 1\n", "seed: 2\n")
    Path("params.yaml").write_text(text, "utf-8")
    params.read.cache_clear()
    main("tiny")
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
        PipelineError, match=r"encoder\.tiny\.kind must be one of 'tiny', .*'teeny'"
    ):
        main("tiny")
