"""Whisper's encoder against transformers' own, of the clip alone, from a published checkpoint."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from pipeline.encoders import architecture, encoder, forward, hub, layout
from pipeline.encoders.hub import Pin
from pipeline.encoders.kinds import whisper
from pipeline.encoders.layers import Layer
from pipeline.ground.errors import PipelineError
from tests.encoders.test_hub import REPOSITORY, REVISION, cache  # noqa: F401 - a fixture

BLOCKS = 3
TINY: dict[str, Any] = {
    "bos_token_id": 1,
    "d_model": 16,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 24,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "encoder_layers": BLOCKS,
    "eos_token_id": 1,
    "num_mel_bins": 20,
    "pad_token_id": 1,
    "vocab_size": 50,
}


def published(folder: Path, **changes: Any) -> tuple[Pin, Any]:
    """Publish an untrained Whisper as openai's repositories lie on the hub; its pin and itself."""
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(WhisperConfig(**TINY, **changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases are 1 and 0 otherwise
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=TINY["num_mel_bins"]).save_pretrained(folder)
    weights = folder / "model.safetensors"
    pin = {
        "kind": "hub",
        "repository": REPOSITORY,
        "revision": REVISION,
        "file": weights.name,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    return Pin.model_validate(pin), model.model


def wave(samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))


def heard(model: Any, clip: torch.Tensor) -> tuple[dict[Layer, torch.Tensor], int]:
    """Transformers' own: the raw output of each block and the last state, and the clip's frames."""
    extractor = WhisperFeatureExtractor(feature_size=TINY["num_mel_bins"])
    given = extractor(
        clip.numpy(), sampling_rate=16000, return_tensors="pt", return_attention_mask=True
    )
    raw: list[torch.Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _module, _given, made: raw.append(made))
        for block in model.encoder.layers
    ]
    with torch.no_grad():
        last = model.encoder(given.input_features).last_hidden_state
    for hook in hooks:
        hook.remove()
    frames = model._get_feat_extract_output_lengths(given.attention_mask.sum())
    return {-BLOCKS + n: one for n, one in enumerate(raw)} | {"last": last}, int(frames)


@pytest.mark.parametrize("samples", [400, 401, 479, 640, 16000, 100_001, 480_000])
def test_every_layer_has_the_bits_of_transformers(
    samples: int,
    cache: Path,  # noqa: F811
) -> None:
    pin, peer = published(cache)
    model, clip = hub.load("some", pin), wave(samples)
    expected, count = heard(peer, clip)
    with torch.no_grad():
        found, lengths = forward.hidden(model, [clip], [-1, -2, -3, "last"])
    assert lengths.tolist() == [count] == [whisper.frame_count(samples)]
    assert {kept.shape for kept in found.values()} == {(1, count, 16)}
    for layer, frames in found.items():
        assert torch.equal(frames, expected[layer][:, :count]), layer
    assert not torch.equal(found[-1], found["last"])


@pytest.mark.parametrize("samples", [1, 159, 160, 161, 320, 321, 31_999, 32_000, 32_001])
def test_a_frame_begins_every_320_samples_of_a_clip(samples: int) -> None:
    extractor = WhisperFeatureExtractor()
    mask = extractor(
        wave(samples).numpy(), sampling_rate=16000, return_attention_mask=True
    ).attention_mask
    convolved = (int(mask.sum()) - 1) // 2 + 1  # two mel frames to one
    assert whisper.frame_count(samples) == convolved == len(range(0, samples, 320))


def test_neither_the_batch_nor_where_it_was_saved_changes_a_clip(
    cache: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    pin, peer = published(cache)
    folder = tmp_path / "saved"
    folder.mkdir()
    encoder.save(hub.load("some", pin), folder)
    model, clips = encoder.load(folder), [wave(5000), wave(40_000)]
    encoder.fold(model)
    theirs = WhisperEncoder.from_pretrained(folder)
    told = WhisperFeatureExtractor.from_pretrained(folder)
    with torch.no_grad():
        found, lengths = forward.hidden(model, clips, [-1, "last"])
        for row, clip in enumerate(clips):
            expected, count = heard(peer, clip)
            assert lengths[row] == count
            for layer in (-1, "last"):
                assert torch.equal(found[layer][row, :count], expected[layer][0, :count])
            given = told(clip.numpy(), sampling_rate=16000, return_tensors="pt").input_features
            assert torch.equal(theirs(given).last_hidden_state, expected["last"])
    assert layout.shape(folder) == (BLOCKS, 16)


def test_an_encoder_of_any_published_class_loads(
    cache: Path,  # noqa: F811
) -> None:
    from safetensors.torch import load_file, save_file

    pin, peer = published(cache)
    state = load_file(cache / pin.file)
    for old, new in (("model.encoder.", "encoder."), ("model.encoder.", "")):
        kept = {k.replace(old, new): v for k, v in state.items() if k.startswith(old)}
        save_file(kept, cache / pin.file)
        checksum = hashlib.sha256((cache / pin.file).read_bytes()).hexdigest()
        found = hub.load("some", pin.model_copy(update={"sha256": checksum}))
        assert torch.equal(found.layer_norm.weight, peer.encoder.layer_norm.weight)


def test_more_than_half_a_minute_is_refused(
    cache: Path,  # noqa: F811
) -> None:
    assert layout.LONGEST_S * 16000 == WhisperFeatureExtractor().n_samples == whisper.MOST_SAMPLES
    model = hub.load("some", published(cache)[0])
    with pytest.raises(PipelineError, match=r"30\.0 s.*set preprocess\.max_clip_s to 30 or less"):
        forward.hidden(model, [wave(480_001)], ["last"])


def test_no_mask_is_taken(
    cache: Path,  # noqa: F811
) -> None:
    model = hub.load("some", published(cache)[0])
    with pytest.raises(PipelineError, match="pretrained"):
        forward.hidden(model, [wave(640)], ["last"], [torch.ones(2, dtype=torch.bool)])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"max_source_positions": 750}, "max_source_positions: expected 1500, got 750"),
        ({"d_model": 15}, "d_model must be a multiple of encoder_attention_heads"),
        ({"d_model": 2}, "d_model must be even"),
        ({"num_mel_bins": 0}, "num_mel_bins"),
    ],
)
def test_what_no_published_whisper_is_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(PipelineError, match=told):
        architecture.settings({"model_type": "whisper", **TINY, **change})


def test_its_decoder_takes_no_part(
    cache: Path,  # noqa: F811
) -> None:
    published(cache)
    config = json.loads((cache / "config.json").read_text("utf-8"))
    assert not [key for key in architecture.settings(config) if "decoder" in key]
