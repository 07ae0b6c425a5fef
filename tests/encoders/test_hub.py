"""Published checkpoints from a local hub cache, in the layouts that the hub really has."""

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from pipeline.encoders import encoder, forward, hub
from pipeline.encoders.hub import Pin
from pipeline.encoders.layout import Source
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from tests.speech import SMALL

REVISION = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "someone/some-encoder"


# What the hub's configs hold beside the architecture.
PUBLISHED = {
    "apply_spec_augment": True,
    "layerdrop": 0.1,
    "mask_time_prob": 0.05,
    "gradient_checkpointing": False,
    "hidden_dropout_prob": 0.1,
    "tokenizer_class": "Wav2Vec2CTCTokenizer",
    "torch_dtype": "float32",
    "transformers_version": "4.10.0.dev0",
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = tmp_path / "models--someone--some-encoder" / "snapshots" / REVISION
    folder.mkdir(parents=True)
    return folder


def published(
    cache: Path,
    file: str = "pytorch_model.bin",
    prefix: str = "",
    heads: tuple[str, ...] = (),
    drop: tuple[str, ...] = (),
    **changes: Any,
) -> tuple[Pin, Any]:
    """Publish an encoder under the key names that the hub's files have; its pin and the model."""
    config = {**SMALL, **PUBLISHED, **changes}
    model = encoder.initialize(config, seed=1)
    state = {}
    for key, value in model.state_dict().items():
        old = key.replace("parametrizations.weight.original0", "weight_g")
        old = old.replace("parametrizations.weight.original1", "weight_v")
        state[prefix + old] = value
    state |= {head: torch.zeros(3) for head in heads}
    state = {key: value for key, value in state.items() if key not in drop}
    if file.endswith(".bin"):
        torch.save(state, cache / file)
    else:
        save_file(state, cache / file)
    (cache / "config.json").write_text(json.dumps(config), "utf-8")
    (cache / "preprocessor_config.json").write_text('{"do_normalize": true}', "utf-8")
    checksum = hashlib.sha256((cache / file).read_bytes()).hexdigest()
    return Pin.model_validate(
        {
            "kind": "hub",
            "repository": REPOSITORY,
            "revision": REVISION,
            "file": file,
            "sha256": checksum,
        }
    ), model


@pytest.mark.parametrize("kind", ["hubert", "wav2vec2", "wavlm", "data2vec-audio"])
@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize("prefixed", [False, True])
def test_old_names_and_heads_of_other_tasks_are_understood(
    cache: Path, kind: str, file: str, prefixed: bool
) -> None:
    heads = ("classifier.weight", "projector.bias") if prefixed else ("quantizer.codevectors",)
    prefix = f"{kind.replace('-', '_')}." if prefixed else ""
    pin, model = published(cache, file, prefix, heads, model_type=kind)
    found = hub.load("some", pin)
    expected = model.state_dict()
    assert found.state_dict().keys() == expected.keys()
    assert all(torch.equal(found.state_dict()[key], expected[key]) for key in expected)
    assert found.do_normalize
    assert not found.training
    assert found.config.layerdrop == 0.0


def test_a_large_classifier_loses_its_own_head_and_says_so(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # As superb/hubert-large-superb-er: a large encoder under a classifier of four other classes.
    large: dict[str, Any] = {
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "conv_bias": True,
    }
    heads = ("projector.weight", "classifier.weight", "classifier.bias")
    pin, model = published(
        cache,
        prefix="hubert.",
        heads=heads,
        architectures=["HubertForSequenceClassification"],
        use_weighted_layer_sum=True,
        **large,
    )
    found = hub.load("superb", pin)
    expected = model.state_dict()
    assert all(torch.equal(found.state_dict()[key], expected[key]) for key in expected)
    said = capsys.readouterr().err
    assert "classifier, projector left out, whatever is trained gets a new head" in said


def test_what_is_found_survives_saving_and_loading(cache: Path, tmp_path: Path) -> None:
    pin, model = published(cache)
    folder = tmp_path / "saved"
    folder.mkdir()
    encoder.save(hub.load("some", pin), folder)
    wave = torch.randn(3000)
    model.do_normalize = True
    with torch.no_grad():
        ours, _ = forward.hidden(encoder.load(folder), [wave], ["last"])
        theirs, _ = forward.hidden(model, [wave], ["last"])
    assert torch.equal(ours["last"], theirs["last"])
    config = (folder / "config.json").read_text("utf-8")
    assert "version" not in config
    assert "dtype" not in config


def test_a_checkpoint_without_mask_embedding_gets_the_same_one_always(cache: Path) -> None:
    pin, _ = published(cache, drop=("masked_spec_embed",), mask_time_prob=0.0)
    one, other = hub.load("some", pin), hub.load("some", pin)
    assert torch.equal(one.masked_spec_embed, other.masked_spec_embed)
    assert one.masked_spec_embed.std() > 0.1


@pytest.mark.parametrize("key", ["revision", "sha256"])
def test_an_encoder_that_is_not_pinned_stops_before_anything_is_read(cache: Path, key: str) -> None:
    pin = published(cache)[0].model_copy(update={key: "", "repository": "no/where"})
    with pytest.raises(PipelineError, match=rf"encoder\.some\.{key} is empty.*not pinned"):
        hub.load("some", pin)


def test_another_checksum_stops_before_the_file_is_opened(cache: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pin, _ = published(cache)

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (canary,))

    (cache / pin.file).write_bytes(pickle.dumps(Payload()))
    with pytest.raises(PipelineError, match=rf"expected sha256 {pin.sha256} \(encoder\.some\)"):
        hub.load("some", pin)
    # Even under a matching checksum, no code in it runs.
    checksum = hashlib.sha256((cache / pin.file).read_bytes()).hexdigest()
    with pytest.raises(PipelineError, match="cannot be read"):
        hub.load("some", pin.model_copy(update={"sha256": checksum}))
    assert not canary.exists()


def test_what_the_cache_lacks_is_named(cache: Path) -> None:
    pin, _ = published(cache)
    with pytest.raises(PipelineError, match=r"pytorch_model\.bin of someone/other at 0123"):
        hub.load("some", pin.model_copy(update={"repository": "someone/other"}))
    (cache / "preprocessor_config.json").unlink()
    with pytest.raises(PipelineError, match=r"preprocessor_config\.json of someone/some-encoder"):
        hub.load("some", pin)


def test_weights_that_do_not_belong_to_the_config_are_refused(cache: Path) -> None:
    pin, _ = published(cache, drop=("encoder.layer_norm.weight",))
    with pytest.raises(PipelineError, match=r"encoder\.layer_norm\.weight .*got nothing"):
        hub.load("some", pin)
    (cache / "config.json").write_text(json.dumps({**SMALL, "hidden_size": 32}), "utf-8")
    with pytest.raises(PipelineError, match=r"of shape .* does not belong to its config\.json"):
        hub.load("some", pin)


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
def test_weights_that_change_after_their_checksum_are_refused(
    cache: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """Good weights, of another encoder, take the place of those that were hashed."""
    pin, _ = published(cache, file)
    good = (cache / file).read_bytes()
    published(cache, file, initializer_range=0.5)
    (cache / file).replace(cache / "other")
    (cache / file).write_bytes(good)
    sha256 = files.sha256

    def hashed(path: Path) -> str:
        told = sha256(path)
        (cache / "other").replace(path)
        return told

    monkeypatch.setattr("pipeline.ground.files.sha256", hashed)
    with pytest.raises(PipelineError, match=f"{file}: changed while it was read"):
        hub.load("some", pin)


@pytest.mark.parametrize(
    ("card", "told"),
    [
        ("---\nlanguage: en\nlicense: apache-2.0\ntags:\n- speech\n---\n# Card\n", "apache-2.0"),
        ("---\r\nlicense: 'cc-by-nc-4.0'\r\n---\r\n", "cc-by-nc-4.0"),
        ("# Card\n\nlicense: mit\n", ""),
        ("---\ntags: [a]\n---\nlicense: mit\n", ""),
        ("---\nlicense: |\n  a | b\n---\n", ""),
        (None, ""),
    ],
)
def test_the_licence_is_that_of_the_entry_else_of_the_card(
    cache: Path, card: str | None, told: str
) -> None:
    pin, _ = published(cache)
    if card is not None:
        (cache / "README.md").write_bytes(card.encode())
    assert hub.licence(pin) == told
    assert hub.licence(pin.model_copy(update={"licence": "mine"})) == "mine"


def test_a_source_without_a_licence_is_written_as_before(tmp_path: Path) -> None:
    Source("a/b", "c", "d", "e").write(tmp_path)
    assert json.loads((tmp_path / "source.json").read_text("utf-8")) == {
        "repository": "a/b",
        "revision": "c",
        "file": "d",
        "sha256": "e",
    }
    Source("a/b", "c", "d", "e", "mit").write(tmp_path)
    assert Source.read(tmp_path).licence == "mit"
