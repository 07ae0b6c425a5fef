"""Losses against the papers' equations written out, and in their limits."""

import math

import pytest
import torch
from torch.nn import functional

from pipeline.training import losses

torch.manual_seed(0)
X = torch.randn(5, 7, dtype=torch.float64)
Y = torch.tensor([0, 2, 1, 2, 0])


def cosine(scale: float) -> losses.Cosine:
    torch.manual_seed(1)
    return losses.Cosine(7, 3, scale).double()


def test_am_softmax_is_equation_2_written_out() -> None:
    s, m = 30.0, 0.2
    layer = cosine(s)
    expected = 0.0
    for x, y in zip(X, Y.tolist(), strict=True):
        angles = [
            float(x @ w / (x.norm() * w.norm()))  # equation 3
            for w in layer.weight.detach()
        ]
        target = math.exp(s * (angles[y] - m))
        others = sum(math.exp(s * c) for j, c in enumerate(angles) if j != y)
        expected -= math.log(target / (target + others))
    logits = losses.with_margin(layer(X), Y, s * m)
    actual = functional.cross_entropy(logits, Y, reduction="sum")
    assert actual.item() == pytest.approx(expected, rel=1e-12)


def test_without_margin_and_scale_it_is_a_cosine_softmax() -> None:
    layer = cosine(1.0)
    angles = functional.cosine_similarity(X[:, None], layer.weight[None], dim=-1)
    expected = functional.cross_entropy(angles, Y, reduction="sum")
    logits = losses.with_margin(layer(X), Y, 0.0)
    torch.testing.assert_close(functional.cross_entropy(logits, Y, reduction="sum"), expected)


def test_a_margin_makes_the_task_harder() -> None:
    layer = cosine(30.0)
    plain = losses.cross_entropy_sum(losses.with_margin(layer(X), Y, 0.0), Y)
    harder = losses.cross_entropy_sum(losses.with_margin(layer(X), Y, 6.0), Y)
    assert harder > plain


def test_am_softmax_gradients_by_finite_differences() -> None:
    layer = cosine(5.0)

    def loss(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        logits = torch.func.functional_call(layer, {"weight": w}, (x,))
        return functional.cross_entropy(losses.with_margin(logits, Y, 1.0), Y, reduction="sum")

    inputs = (X.clone().requires_grad_(), layer.weight.detach().clone().requires_grad_())
    assert torch.autograd.gradcheck(loss, inputs)


def test_emotion_and_gender_is_equation_1() -> None:
    emotion, gender = torch.randn(4, 3), torch.randn(4, 2)
    emotions, genders = torch.tensor([0, 1, 2, 1]), torch.tensor([1, 0, -1, 1])
    expected = sum(
        0.9 * functional.cross_entropy(emotion[i], emotions[i])
        + (0.1 * functional.cross_entropy(gender[i], genders[i]) if genders[i] >= 0 else 0)
        for i in range(4)
    )
    actual = losses.emotion_and_gender_sum(emotion, gender, emotions, genders, 0.9)
    torch.testing.assert_close(actual, torch.as_tensor(expected))
