"""Fused blocks: one compilation serves all blocks and batches, and gives what the blocks give."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.encoders import blocks, encoder, packed
from pipeline.methods import lora
from pipeline.methods.finetuning import LoraParams
from pipeline.training import dropout
from tests.speech import SMALL

CPU = torch.device("cpu")
BATCHES = [[4000, 6000, 400], [5000, 8000], [9000], [3000, 3000, 4100, 7000]]
LARGE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}


# Opaque to the compiler, as a GPU's flash attention is; brute force, with its own gradient.
@torch.library.custom_op("tests::attention", mutates_args=())
def attention(q: Tensor, k: Tensor, v: Tensor, ends: Tensor, longest: int) -> Tensor:
    return (_weights(q, k, ends) @ v.transpose(0, 1)).transpose(0, 1).contiguous()


@torch.library.custom_op("tests::attention_backward", mutates_args=())
def backward(g: Tensor, q: Tensor, k: Tensor, v: Tensor, ends: Tensor) -> list[Tensor]:
    weights, scale = _weights(q, k, ends), q.shape[-1] ** -0.5
    g, heads = g.transpose(0, 1), [values.transpose(0, 1) for values in (q, k, v)]
    inner = g @ heads[2].transpose(1, 2)
    inner = weights * (inner - (inner * weights).sum(-1, keepdim=True)) * scale
    found = inner @ heads[1], inner.transpose(1, 2) @ heads[0], weights.transpose(1, 2) @ g
    return [values.transpose(0, 1).contiguous() for values in found]


def _weights(q: Tensor, k: Tensor, ends: Tensor) -> Tensor:
    clip = torch.bucketize(torch.arange(len(q)), ends[1:], right=True)
    products = q.transpose(0, 1) @ k.permute(1, 2, 0) * q.shape[-1] ** -0.5
    return functional.softmax(products.masked_fill(clip[:, None] != clip, -1e9), -1)


@attention.register_fake
def _(q: Tensor, *_: Any) -> Tensor:
    return torch.empty(q.shape)


@backward.register_fake
def _(_: Tensor, *given: Tensor) -> list[Tensor]:
    return [torch.empty(values.shape) for values in given[:3]]


attention.register_autograd(
    lambda context, g: (*backward(g, *context.saved_tensors), None, None),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs[:4]),
)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What was compiled, and no more than that: for eager execution."""
    found: list[Any] = []

    def counted(graph: Any, inputs: Any) -> Any:
        found.append(graph)
        return torch._dynamo.backends.debugging.aot_eager(graph, inputs)

    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **how: compiled(f, backend=counted, **how))
    monkeypatch.setattr(blocks, "_by_length", lambda q, k, v, ends: attention(q, k, v, ends, 0))
    blocks._fused.cache_clear()
    torch._dynamo.reset()
    yield found
    blocks._fused.cache_clear()
    torch._dynamo.reset()


@pytest.mark.parametrize("style", [{}, LARGE], ids=["base", "large"])
@pytest.mark.parametrize("adapters", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
def test_one_compilation_serves_all(
    style: Any, adapters: bool, recompute: bool, graphs: list[Any]
) -> None:
    settings = {**SMALL, **style, "num_hidden_layers": 3, "activation_dropout": 0.2}
    model = encoder.initialize(settings, 0)
    if adapters:
        lora.adapt(model, lora.QKV, LoraParams(rank=2, alpha=4.0, dropout=0.3))
    draws = dropout.Draws()
    dropout.install(model.train(), draws)
    model.recompute = recompute
    expected = [passed(model, draws, lengths) for lengths in BATCHES]
    model.fuse = True
    found = [passed(model, draws, lengths) for lengths in BATCHES]
    assert len(graphs) == 1
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def passed(model: Any, draws: dropout.Draws, lengths: list[int]) -> list[Tensor]:
    """The frames of clips, and all gradients."""
    generator = torch.Generator().manual_seed(0)
    waves = [torch.randn(length, generator=generator) for length in lengths]
    draws.begin(1, 1, [str(place) for place in range(len(waves))], CPU)
    model.zero_grad(set_to_none=True)
    frames = packed.hidden(model, waves, ["last"])[0]["last"]
    frames.square().sum().backward()
    return [frames.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]
