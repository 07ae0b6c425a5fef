"""Packed clips give what transformers gives for each of them alone, whatever lies beside them."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from torch import Tensor

from pipeline.encoders import encoder, forward, layout, packed
from pipeline.methods import lora
from pipeline.methods.finetuning import LoraParams
from tests.encoders.test_encoder import BASE, KINDS, LAYERS, MODELS, reference, wave

PACKED = [kind for kind in KINDS if kind.startswith(forward.PACKED)]

LIMITS = {"base": 1e-5, "large": 3e-5}  # relative L2 of a clip and layer, in fp32
TRUE = {kind: deepcopy(model).double() for kind, model in MODELS.items() if kind in PACKED}
# Blocks of one width in 16 groups of 128 taps: the published shapes, but narrow and low.
SHAPED = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "conv_dim": [32] * 7,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
}
kinds = pytest.mark.parametrize("kind", PACKED)


def off(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def clips_of(drawn: list[tuple[int, float, float]]) -> list[Tensor]:
    return [10 * level * wave(n, seed) + offset for seed, (n, level, offset) in enumerate(drawn)]


CLIP = st.tuples(
    st.one_of(st.sampled_from([400, 401, 719, 720, 721]), st.integers(400, 9000)),
    st.sampled_from([0.1, 1.0, 1e-2, 1e-3, 3e-5]),  # from loud to a step of 16 bits
    st.sampled_from([0.0, 0.0, 0.1, -0.5]),  # an offset
)


@examples(max_examples=60, deadline=None)
@given(st.sampled_from(PACKED), st.lists(CLIP, min_size=1, max_size=6), st.booleans())
def test_every_clip_is_as_transformers_has_it(
    kind: str, drawn: list[tuple[int, float, float]], normalize: bool
) -> None:
    """In fp64 too: far beneath an offset, transformers' own fp32 is off by more than ours."""
    limit, clips = LIMITS[kind.split("-")[1]], clips_of(drawn)
    with torch.no_grad(), normalized(MODELS[kind], normalize):
        found, packing = packed.hidden(MODELS[kind], clips, LAYERS)
        theirs = [reference(MODELS[kind], forward.prepare(MODELS[kind], clip)) for clip in clips]
    true = [reference(TRUE[kind], exactly(clip, normalize)) for clip in clips]
    assert packing.rows == [layout.frame_count(len(clip)) for clip in clips]
    for layer in LAYERS:
        rows = zip(found[layer].split(packing.rows), theirs, true, strict=True)
        for own, peer, truth in rows:
            assert off(own, truth[layer][0]) < limit, layer
            peer_off = off(peer[layer][0], truth[layer][0])
            assert off(own, peer[layer][0]) < limit + peer_off, layer


@contextmanager
def normalized(model: Any, normalize: bool) -> Iterator[None]:
    model.do_normalize = normalize
    yield
    model.do_normalize = False


def exactly(clip: Tensor, normalize: bool) -> Tensor:
    exact = clip.double()
    spread = exact.var(correction=0) + 1e-7
    return (exact - exact.mean()) / spread.sqrt() if normalize else exact


@kinds
def test_speech_with_an_offset_is_as_near_to_transformers_as_any(kind: str) -> None:
    clips = [wave(samples, samples) + 0.1 for samples in (400, 16000, 5000)]
    with torch.no_grad():
        found, packing = packed.hidden(MODELS[kind], clips, LAYERS)
    for layer in LAYERS:
        for own, clip in zip(found[layer].split(packing.rows), clips, strict=True):
            assert off(own, reference(MODELS[kind], clip)[layer][0]) < LIMITS[kind.split("-")[1]]


@kinds
def test_digital_silence_gives_what_transformers_gives(kind: str) -> None:
    clips = [torch.zeros(4000), wave(3000), torch.full((4000,), 0.25)]
    with torch.no_grad():
        found, packing = packed.hidden(MODELS[kind], clips, ["last"])
    silent, _, constant = found["last"].split(packing.rows)
    torch.testing.assert_close(silent, reference(MODELS[kind], clips[0])["last"][0])
    # Over time a constant is silence; theirs, even in fp64, is then made of rounding.
    expected = silent if kind.endswith("base") else reference(MODELS[kind], clips[2])["last"][0]
    torch.testing.assert_close(constant, expected, atol=1e-5, rtol=1e-4)


def test_published_shapes_of_positions_and_heads() -> None:
    for style in (SHAPED, {**SHAPED, "do_stable_layer_norm": True, "feat_extract_norm": "layer"}):
        model = encoder.initialize({**BASE, **style}, seed=1)
        clips = [wave(60000), wave(400, 1), wave(31000, 2)]
        with torch.no_grad():
            found, packing = packed.hidden(model, clips, ["last"])
            for own, clip in zip(found["last"].split(packing.rows), clips, strict=True):
                assert off(own, model(clip[None]).last_hidden_state[0]) < 1e-5


@kinds
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("adapters", [False, True])
def test_gradients_are_those_of_padded_clips(kind: str, frozen: bool, adapters: bool) -> None:
    """Of everything that trains: all weights, without the front end, adapters alone."""
    model = encoder.initialize({**KINDS[kind], "attention_dropout": 0.0}, seed=1)
    if frozen:
        model.feature_extractor._freeze_parameters()
    if adapters:
        lora.adapt(model, lora.QKV, LoraParams(rank=2, alpha=4.0, dropout=0.0))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, 0, 0.1)
    clips = [wave(2000), wave(5000, 1), wave(900, 2), wave(5000, 3)]
    masks = [torch.rand(layout.frame_count(len(clip))) < 0.4 for clip in clips]
    targets = torch.randn(sum(map(len, masks)), model.config.hidden_size)

    def gradients(frames: Tensor) -> dict[str, Tensor]:
        model.zero_grad()
        (frames * targets).sum().backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    states, _ = packed.hidden(model, clips, ["last"], masks)
    own = gradients(states["last"])
    states, lengths = forward.hidden(model, clips, ["last"], masks)
    rows = zip(states["last"], lengths, strict=True)
    expected = gradients(torch.cat([frames[:length] for frames, length in rows]))
    assert own.keys() == expected.keys() != set()
    rounding = 1e-7 * max(float(gradient.norm()) for gradient in expected.values())
    for name, gradient in expected.items():  # that of a key's bias is zero
        assert (own[name] - gradient).norm() < 1e-4 * gradient.norm() + rounding, name


@kinds
def test_the_forward_pass_of_a_gpu_pads_what_was_packed(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, model = [wave(2000), wave(5000, 1), wave(900, 2)], MODELS[kind]
    with torch.no_grad():
        expected, lengths = forward.hidden(model, clips, LAYERS)
        monkeypatch.setattr(forward, "packs", lambda _: True)
        fronts = forward.front_ends(model, clips)
        for given in (clips, fronts, [clips[0], fronts[1], clips[2]]):
            found, same = forward.hidden(model, given, LAYERS)
            assert torch.equal(same, lengths)
            for layer in LAYERS:
                assert found[layer].shape == expected[layer].shape
                for row, length in enumerate(lengths):
                    assert off(found[layer][row, :length], expected[layer][row, :length]) < 1e-5
                    assert not found[layer][row, length:].any()


def test_a_gpu_computes_blocks_no_further_than_the_highest_layer() -> None:
    model, ran = MODELS["hubert-base"], []
    handle = model.encoder.layers[1].register_forward_hook(lambda *_: ran.append(1))
    packed.hidden(model, [wave(2000)], [-3])
    handle.remove()
    assert not ran


def test_dropping_attention_weights_of_packed_clips_is_refused() -> None:
    model = encoder.initialize({**BASE, "attention_dropout": 0.1}, seed=1).train()
    with pytest.raises(ValueError, match="no dropout of attention weights"):
        packed.hidden(model, [wave(2000)], ["last"])


def test_on_a_gpu_only_encoders_without_a_bias_or_a_stack_of_positions_are_packed() -> None:
    on_gpu = SimpleNamespace(projection=SimpleNamespace(weight=SimpleNamespace(is_cuda=True)))
    for kind, model in MODELS.items():
        assert not forward.packs(model)
        there = SimpleNamespace(feature_projection=on_gpu, config=model.config)
        assert forward.packs(there) == kind.startswith(("hubert", "wav2vec2")), kind
