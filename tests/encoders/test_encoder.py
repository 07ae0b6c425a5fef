"""Frames never depend on the batch, and are transformers' own; see also test_extraction."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor
from transformers.models.hubert.modeling_hubert import HubertPositionalConvEmbedding

from pipeline.encoders import encoder, forward, layout
from pipeline.encoders.layers import Layer
from pipeline.ground.errors import PipelineError
from pipeline.methods import lora
from pipeline.methods.finetuning import LoraParams
from tests.speech import SMALL

BLOCKS = 3
BASE = {**SMALL, "num_hidden_layers": BLOCKS, "hidden_dropout": 0.1}
LARGE = {**BASE, "do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
KINDS = {
    f"{kind}-{size}": {**config, "model_type": kind}
    for kind in ("hubert", "wav2vec2", "wavlm")
    for size, config in (("base", BASE), ("large", LARGE))
}
# Published configs give a style and a norm, which transformers never reads.
KINDS["data2vec-audio-base"] = {
    **LARGE,
    "model_type": "data2vec-audio",
    "num_conv_pos_embeddings": 3,
    "conv_pos_kernel_size": 7,
}
# Few buckets: a clip has near, far and farthest distances.
KINDS["wavlm-base"] |= {"num_buckets": 32, "max_bucket_distance": 60}
LAYERS: tuple[Layer, ...] = (-1, -2, -3, -4, "last")


def made(kind: str, seed: int = 0, **changes: Any) -> Any:
    """An untrained encoder; a bias of positions is as strong as in a trained one."""
    model = encoder.initialize({**KINDS[kind], **changes}, seed)
    drawn = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "rel_attn_embed" in name or "gru_rel_pos" in name:
            torch.nn.init.normal_(parameter, generator=drawn)
    return model


MODELS = {kind: made(kind) for kind in KINDS}
kinds = pytest.mark.parametrize("kind", KINDS)


def wave(samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def peer(model: Any) -> Any:
    """The same encoder in transformers' own modules."""
    theirs = transformers.AutoModel.from_config(model.config).eval().to(model.dtype)
    theirs.load_state_dict(model.state_dict())
    return theirs


untouched = cache(peer)  # of models that nothing trains


def reference(model: Any, clip: Tensor) -> dict[Any, Tensor]:
    """transformers' own forward of one clip, by our names of the layers."""
    with torch.no_grad():
        output = untouched(model)(clip[None], output_hidden_states=True)
    states = dict(zip((-4, -3, -2, -1), output.hidden_states, strict=True))
    return {**states, "last": output.last_hidden_state}


@kinds
@pytest.mark.parametrize("samples", [400, 719, 720, 1040, 8000, 40001])
def test_one_clip_gives_the_bits_of_transformers(kind: str, samples: int) -> None:
    clip = wave(samples)
    with torch.no_grad():
        found, lengths = forward.hidden(MODELS[kind], [clip], LAYERS)
    expected = reference(MODELS[kind], clip)
    assert lengths.tolist() == [layout.frame_count(samples)] == [found[-1].shape[1]]
    for layer in LAYERS:
        assert torch.equal(found[layer], expected[layer]), layer


@kinds
def test_layers_below_the_top_do_not_run_the_blocks_above(kind: str) -> None:
    ran: list[int] = []
    handles = [
        block.register_forward_hook(lambda *_, n=n: ran.append(n))
        for n, block in enumerate(MODELS[kind].encoder.layers)
    ]
    forward.hidden(MODELS[kind], [wave(2000)], [-3])
    for handle in handles:
        handle.remove()
    assert ran == [0]


def test_last_is_after_the_final_norm_for_large_models_alone() -> None:
    for name, model in MODELS.items():
        found, _ = forward.hidden(model, [wave(3000)], [-1, "last"])
        assert torch.equal(found[-1], found["last"]) == name.endswith("base")


@kinds
@examples(max_examples=10, deadline=None)
@example(samples=[9000, 400, 5000], masked=False)
@given(samples=st.lists(st.integers(400, 9000), min_size=1, max_size=6), masked=st.booleans())
def test_no_clip_depends_on_its_batch(kind: str, samples: list[int], masked: bool) -> None:
    clips = [wave(n, seed) for seed, n in enumerate(samples)]
    masks = [torch.rand(layout.frame_count(n)) < 0.5 for n in samples] if masked else None
    with torch.no_grad():
        batch, lengths = forward.hidden(MODELS[kind], clips, LAYERS, masks)
        for row, clip in enumerate(clips):
            own = [masks[row]] if masks else None
            alone, _ = forward.hidden(MODELS[kind], [clip], LAYERS, own)
            for layer in LAYERS:
                frames = batch[layer][row, : lengths[row]]
                torch.testing.assert_close(frames, alone[layer][0], atol=1e-5, rtol=1e-5)
                assert batch[layer].isfinite().all()


def test_a_padded_batch_through_transformers_differs_where_ours_does_not() -> None:
    """The fault that `hidden` is made for: were it gone, the batch could go through as it is."""
    short, long = wave(8000), wave(24000, 1)
    padded = torch.stack([torch.cat([short, torch.zeros(16000)]), long])
    mask = torch.arange(24000)[None] < torch.tensor([[8000], [24000]])
    with torch.no_grad():
        theirs = MODELS["hubert-base"](padded, attention_mask=mask).last_hidden_state[0, :24]
    alone = reference(MODELS["hubert-base"], short)["last"][0]
    assert (theirs - alone).norm() / alone.norm() > 0.01


@kinds
def test_gradients_of_a_batch_are_the_sum_of_the_clips_gradients(kind: str) -> None:
    model = made(kind, 1, attention_dropout=0.0)
    clips, targets = [wave(2000), wave(5000, 1), wave(900, 2)], torch.randn(3, 16)

    def gradients(groups: list[list[int]]) -> list[Tensor]:
        model.zero_grad()
        for group in groups:
            states, lengths = forward.hidden(model, [clips[i] for i in group], [-1])
            for row, i in enumerate(group):
                (states[-1][row, : lengths[row]].mean(0) @ targets[i]).backward(retain_graph=True)
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    for together, apart in zip(gradients([[0, 1, 2]]), gradients([[0], [1], [2]]), strict=True):
        torch.testing.assert_close(together, apart, atol=2e-5, rtol=1e-3)


@kinds
def test_a_masked_frame_does_not_see_its_audio_and_the_mask_embedding_learns(kind: str) -> None:
    model = made(kind, 2)
    mask = torch.ones(layout.frame_count(3000), dtype=torch.bool)
    one, _ = forward.hidden(model, [wave(3000, 1)], ["last"], [mask])
    other, _ = forward.hidden(model, [wave(3000, 2)], ["last"], [mask])
    assert torch.equal(one["last"], other["last"])
    one["last"].pow(3).sum().backward()
    assert model.masked_spec_embed.grad.abs().sum() > 0


@kinds
def test_a_mask_gives_what_it_gives_in_transformers_and_none_changes_nothing(kind: str) -> None:
    model, clip = MODELS[kind], wave(5000)
    none = torch.zeros(layout.frame_count(5000), dtype=torch.bool)
    some = none.clone()
    some[3:6] = True
    theirs = peer(model)
    theirs.config.apply_spec_augment = True  # else a given mask is ignored
    with torch.no_grad():
        plain, _ = forward.hidden(model, [clip], ["last"])
        unmasked, _ = forward.hidden(model, [clip], ["last"], [none])
        masked, _ = forward.hidden(model, [clip], ["last"], [some])
        expected = theirs(clip[None], mask_time_indices=some[None]).last_hidden_state
    assert torch.equal(plain["last"], unmasked["last"])
    assert torch.equal(masked["last"], expected)
    assert not torch.allclose(plain["last"], masked["last"], atol=1e-3)


@kinds
def test_adapters_take_part_and_learn(kind: str) -> None:
    model, clips = made(kind, 3), [wave(3000), wave(5000, 1)]
    before, _ = forward.hidden(model, clips, ["last"])
    lora.adapt(model, lora.QKV, LoraParams(rank=2, alpha=4.0, dropout=0.0))
    same, _ = forward.hidden(model, clips, ["last"])
    torch.testing.assert_close(same["last"], before["last"])
    same["last"].pow(3).sum().backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    # What adapters add is 0 until their B has left 0, and so is the gradient of A.
    assert trained == {name for name, _ in model.named_parameters() if "lora_B" in name}
    assert len(trained) == BLOCKS * len(lora.QKV)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.2)
        after, lengths = forward.hidden(model, clips, ["last"])
        lora.merge(model)
        for row, clip in enumerate(clips):
            frames = after["last"][row, : lengths[row]]
            assert not torch.allclose(frames, before["last"][row, : lengths[row]], atol=1e-2)
            merged = peer(model)(clip[None]).last_hidden_state[0]
            torch.testing.assert_close(frames, merged, atol=1e-4, rtol=1e-4)


def test_training_mode_drops_out_but_never_skips_a_block() -> None:
    model = encoder.initialize({**BASE, "layerdrop": 1.0}, seed=4).train()
    one, _ = forward.hidden(model, [wave(3000)], ["last"])
    other, _ = forward.hidden(model, [wave(3000)], ["last"])
    assert not torch.equal(one["last"], other["last"])
    still, _ = forward.hidden(model.eval(), [wave(3000)], ["last", -4])
    assert not torch.allclose(still["last"], still[-4], atol=1e-2)


def test_the_weight_of_a_frozen_front_end_gets_no_gradient(tmp_path: Path) -> None:
    encoder.save(MODELS["hubert-base"], tmp_path)
    model = encoder.load(tmp_path, freeze_conv=True).train()
    states, _ = forward.hidden(model, [wave(3000)], ["last"])
    states["last"].sum().backward()
    assert all(p.grad is None for p in model.feature_extractor.parameters())
    assert model.feature_projection.projection.weight.grad is not None


@kinds
def test_what_is_saved_loads_here_and_in_transformers(kind: str, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        encoder.save(MODELS[kind], folder)
    assert {f.name: f.read_bytes() for f in one.iterdir()} == {
        f.name: f.read_bytes() for f in two.iterdir()
    }
    before = torch.random.get_rng_state()
    loaded = encoder.load(one)
    assert torch.equal(torch.random.get_rng_state(), before)
    theirs = transformers.AutoModel.from_pretrained(one)
    ours = MODELS[kind].state_dict()
    assert loaded.state_dict().keys() == theirs.state_dict().keys() == ours.keys()
    assert "masked_spec_embed" in ours
    for state in (loaded.state_dict(), theirs.state_dict()):
        assert all(torch.equal(state[key], ours[key]) for key in ours)
    assert "version" not in (one / "config.json").read_text("utf-8")


def test_a_seed_gives_an_encoder_and_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    one, same, other = (encoder.initialize(BASE, seed) for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), before)
    weight = "encoder.layers.0.attention.q_proj.weight"
    assert torch.equal(one.state_dict()[weight], same.state_dict()[weight])
    assert not torch.equal(one.state_dict()[weight], other.state_dict()[weight])


def test_waveforms_are_normalised_as_the_feature_extractor_does() -> None:
    model = encoder.initialize(BASE, seed=0)
    clip = wave(12345) * 0.3 + 0.02
    assert forward.prepare(model, clip) is clip
    model.do_normalize = True
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    theirs = extractor(clip.numpy(), sampling_rate=16000, return_tensors="pt").input_values
    assert torch.equal(forward.prepare(model, clip), theirs[0])
    found, _ = forward.hidden(model, [clip], ["last"])
    assert torch.equal(found["last"], reference(model, theirs[0])["last"])


@pytest.mark.parametrize(
    ("samples", "frames"), [(0, 0), (399, 0), (400, 1), (719, 1), (720, 2), (16000, 49)]
)
def test_frame_count(samples: int, frames: int) -> None:
    assert layout.frame_count(samples) == frames


@pytest.mark.parametrize("layer", [0, 1, -5])
def test_a_layer_that_does_not_exist_is_refused(layer: int) -> None:
    with pytest.raises(PipelineError, match=f"layer {layer}.*-4 to -1.*3 blocks"):
        forward.hidden(MODELS["hubert-base"], [wave(800)], [layer])


def test_broken_folders_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"config.json: no such file"):
        encoder.load(tmp_path)
    encoder.save(MODELS["hubert-base"], tmp_path)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))

    def rejected(changes: dict[str, Any], message: str) -> None:
        (tmp_path / "config.json").write_text(json.dumps({**config, **changes}), "utf-8")
        with pytest.raises(PipelineError, match=message) as caught:
            encoder.load(tmp_path)
        assert "\n" not in str(caught.value)

    rejected(
        {"model_type": "unispeech"}, "unispeech.*hubert or wav2vec2 or wavlm or data2vec-audio"
    )
    rejected({"conv_stride": [5, 2, 2, 2, 2, 2, 1]}, "320 samples")
    rejected({"num_hidden_layers": 5}, "model.safetensors")
    rejected({"conv_pos_batch_norm": True}, "conv_pos_batch_norm")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    rejected({}, "model.safetensors")


@pytest.mark.parametrize(("width", "groups"), [(16, 2), (24, 2), (32, 2), (768, 16)])
def test_positions_in_bf16_are_near_those_in_fp32(width: int, groups: int) -> None:
    """oneDNN's own bf16 is off by more than the signal at 8 and 12 channels a group, with AMX."""
    torch.manual_seed(0)
    config = transformers.HubertConfig(
        hidden_size=width, num_conv_pos_embedding_groups=groups, num_conv_pos_embeddings=16
    )
    module, states = HubertPositionalConvEmbedding(config).eval(), torch.randn(1, 40, width)
    with torch.inference_mode():
        exact = module(states)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = forward._positions(module, states)
        pure = forward._positions(module.bfloat16(), states.bfloat16())
    for found in (mixed, pure):
        assert (found.float() - exact).norm() < 0.02 * exact.norm()
