"""Losses against the papers' equations written out, and in their limits."""

import math

import numpy as np
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
    actual = losses.with_gender_sum(
        losses.cross_entropy_sum(emotion, emotions), gender, genders, 0.9
    )
    torch.testing.assert_close(actual, torch.as_tensor(expected))


SHARES = torch.tensor([[3, 1, 0], [0, 0, 5], [2, 2, 1], [1, 0, 0]], dtype=torch.float64)
VOTES = SHARES / SHARES.sum(1, keepdim=True)
LOGITS = 2 * torch.randn(4, 3, dtype=torch.float64)


def test_soft_cross_entropy_equals_torch_and_of_one_hot_targets_the_hard_one() -> None:
    expected = functional.cross_entropy(LOGITS.float(), VOTES.float(), reduction="sum")
    torch.testing.assert_close(losses.soft_cross_entropy_sum(LOGITS, VOTES.float()), expected)
    labels = torch.tensor([0, 2, 1, 0])
    hot = functional.one_hot(labels, 3).float()
    soft = losses.soft_cross_entropy_sum(LOGITS, hot)
    torch.testing.assert_close(soft, losses.cross_entropy_sum(LOGITS, labels))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0]])
def test_focal_and_weighted_cross_entropy_written_out(
    gamma: float, weights: list[float] | None
) -> None:
    """Equation 5 of Lin et al. (2017) for each class, with its weight and its votes."""
    expected = 0.0
    for row, votes in zip(LOGITS.tolist(), VOTES.tolist(), strict=True):
        whole = math.fsum(math.exp(value) for value in row)
        for c, (value, vote) in enumerate(zip(row, votes, strict=True)):
            p = math.exp(value) / whole
            expected -= (weights or [1, 1, 1])[c] * vote * (1 - p) ** gamma * math.log(p)
    given = None if weights is None else torch.tensor(weights)
    found = losses.soft_cross_entropy_sum(LOGITS, VOTES, given, gamma)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_weights_of_hard_targets_are_torch_s() -> None:
    labels, weights = torch.tensor([0, 2, 1, 0]), torch.tensor([0.5, 2.0, 1.0])
    hot = functional.one_hot(labels, 3).float()
    expected = functional.cross_entropy(LOGITS.float(), labels, weights, reduction="sum")
    torch.testing.assert_close(losses.soft_cross_entropy_sum(LOGITS, hot, weights), expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_gradients_by_finite_differences(gamma: float) -> None:
    x = LOGITS.float().requires_grad_()
    (found,) = torch.autograd.grad(losses.soft_cross_entropy_sum(x, VOTES.float(), None, gamma), x)

    def loss(logits: np.ndarray) -> float:
        logs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        return float(-(VOTES.numpy() * (1 - np.exp(logs)) ** gamma * logs).sum())

    for place in np.ndindex(4, 3):
        step = np.zeros((4, 3))
        step[place] = 1e-6
        slope = (loss(LOGITS.numpy() + step) - loss(LOGITS.numpy() - step)) / 2e-6
        assert float(found[place]) == pytest.approx(slope, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_of_a_certain_answer_is_finite(gamma: float) -> None:
    x = torch.tensor([[60.0, -60.0, -60.0], [-60.0, 60.0, -60.0]]).requires_grad_()
    hot = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    loss = losses.soft_cross_entropy_sum(x, hot, None, gamma)
    loss.backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert loss.item() == pytest.approx(120.0)


def test_errors_of_values_count_known_targets_alone() -> None:
    nan = math.nan
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], requires_grad=True)
    targets = torch.tensor([[1.5, nan], [1.0, 4.0], [nan, nan]])
    assert losses.mse_sum(values, targets).item() == pytest.approx(0.25 + 4)
    assert losses.mae_sum(values, targets).item() == pytest.approx(0.5 + 2)
    (slope,) = torch.autograd.grad(losses.mse_sum(values, targets), values)
    assert slope.tolist() == [[-1.0, 0.0], [4.0, 0.0], [0.0, 0.0]]
    (slope,) = torch.autograd.grad(losses.mae_sum(values, targets), values)
    assert slope.tolist() == [[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]
