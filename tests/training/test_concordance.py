"""The concordance loss: the metric's formula, and exact for a batch that passes in parts."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.encoders import encoder as encoders
from pipeline.methods.classifier import Classifier
from pipeline.methods.finetuning import LossParams
from pipeline.metrics import agreement
from pipeline.splits.task import Example, of_role
from pipeline.training import loop
from pipeline.training.concordance import Concordance, known
from pipeline.training.waves import Batch
from pipeline.work.processes import Processes
from tests.training.test_fit import DESIGN, SETTINGS, fit_of

CPU = torch.device("cpu")
torch.manual_seed(0)
VALUES = 3 + torch.randn(11, 2, dtype=torch.float64)
TARGETS = 3.5 + 0.5 * VALUES + 0.3 * torch.randn(11, 2, dtype=torch.float64)
TARGETS[[2, 7, 8], [0, 0, 1]] = float("nan")


def by_metric(values: Tensor, targets: Tensor) -> float:
    """1 - concordance over known targets, mean over the columns."""
    found = []
    for x, y in zip(targets.T.numpy(), values.T.detach().numpy(), strict=True):
        rows = ~np.isnan(x)
        found.append(1 - agreement.concordance(x[rows], y[rows]))
    return float(np.mean(found))


def test_the_loss_is_the_metric_s() -> None:
    found = Concordance(2)(VALUES, TARGETS)
    assert found.item() / 11 == pytest.approx(by_metric(VALUES, TARGETS), abs=1e-12)


def test_gradients_by_finite_differences() -> None:
    assert torch.autograd.gradcheck(
        lambda x: Concordance(2)(x, TARGETS), (VALUES.clone().requires_grad_(),)
    )


@pytest.mark.parametrize(
    ("values", "targets"),
    [
        (torch.full((4, 1), 2.0), torch.tensor([[1.0], [2.0], [3.0], [5.0]])),
        (torch.full((4, 1), 2.0), torch.full((4, 1), 2.0)),
        (torch.tensor([[2.0]]), torch.tensor([[3.0]])),
        (torch.tensor([[2.0], [3.0]]), torch.full((2, 1), float("nan"))),
    ],
)
def test_where_nothing_follows_the_loss_is_1_and_no_gradient_is_lost(
    values: Tensor, targets: Tensor
) -> None:
    x = values.clone().requires_grad_()
    loss = Concordance(1)(x, targets) / len(x)
    loss.backward()
    assert loss.item() == pytest.approx(1)
    assert x.grad is not None
    assert x.grad.isfinite().all()


class Pair:
    """Two processes in one: each adds what the other has gathered."""

    def __init__(self, others: Sequence[Tensor]) -> None:
        self.others = others

    def sum(self, tensors: Sequence[Tensor]) -> None:
        for tensor, other in zip(tensors, self.others, strict=True):
            tensor.add_(other)


def known_of(
    loss: Concordance, parts: Sequence[slice], processes: object
) -> AbstractContextManager[None]:
    def passes() -> None:
        for part in parts:
            loss(VALUES[part], TARGETS[part])

    return known([loss], passes, CPU, processes)  # type: ignore[arg-type]


def gradient(loss: Concordance, parts: Sequence[slice]) -> tuple[float, Tensor]:
    """The summed loss of parts and its gradient by all values."""
    x = VALUES.clone().requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    for part in parts:
        one = loss(x[part], TARGETS[part])
        one.backward()
        total += one.detach()
    return float(total), torch.zeros_like(x) if x.grad is None else x.grad


@pytest.mark.parametrize("cuts", [[11], [4, 8], [1, 2, 3, 11], range(1, 12)])
def test_parts_make_the_gradient_of_the_whole(cuts: Sequence[int]) -> None:
    whole, expected = gradient(Concordance(2), [slice(0, 11)])
    parts = [slice(a, b) for a, b in zip([0, *cuts], [*cuts, 11], strict=False) if a < b]
    loss = Concordance(2)
    with known_of(loss, parts, Processes()):
        total, found = gradient(loss, parts)
    assert total == pytest.approx(whole, abs=1e-12)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert loss.sums is None  # the next batch is another one


@pytest.mark.parametrize("at", [0, 5, 11])
def test_two_processes_make_the_gradient_of_the_whole(at: int) -> None:
    """At 0 and 11 one of them has no clip."""
    whole, expected = gradient(Concordance(2), [slice(0, 11)])
    shares, gathered = [[slice(0, at)] if at else [], [slice(at, 11)] if at < 11 else []], []
    for share in shares:
        loss = Concordance(2)
        with known_of(loss, share, Processes()):
            assert loss.sums is not None
            gathered.append(loss.sums.clone())
    total, gradients = 0.0, torch.zeros_like(VALUES)
    for share, other in zip(shares, reversed(gathered), strict=True):
        loss = Concordance(2)
        with known_of(loss, share, Pair([other])):
            one, found = gradient(loss, share)
        total, gradients = total + one, gradients + found
    assert total == pytest.approx(whole, abs=1e-12)
    torch.testing.assert_close(gradients, expected, rtol=1e-9, atol=1e-12)


LINEAR = DESIGN.model_copy(update={"loss": LossParams(name="ce", scale=1.0, margin=0.0)})


class Values(Classifier):
    """A model of two values a clip: what its pitch tells, and its length in tenths of a second."""

    concordance: Concordance

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        targets = targets_of(batch.examples)
        return self.concordance(self.logits(batch), targets), len(targets)


def targets_of(found: Sequence[Example]) -> Tensor:
    return torch.tensor([[2.0 - e.label, 10 * e.clip.duration_s] for e in found])


@pytest.fixture
def values(base: Path) -> Callable[[], Values]:
    def make() -> Values:
        torch.manual_seed(0)
        model = Values(encoders.load(base, freeze_conv=True), LINEAR)
        model.concordance = Concordance(2)
        return model

    return make


def test_training_does_not_depend_on_how_batches_are_cut(
    found: list[Example], values: Callable[[], Values]
) -> None:
    finals, weights = [], []
    settings = SETTINGS.model_copy(update={"epochs": 6, "learning_rate": 3e-3})
    for budget_s in (100.0, 1.0, 0.1):
        model = values()
        fit = fit_of(model, settings, f"cut-{budget_s}", budget_s)
        history = loop.train(fit, model, of_role(found, "train"), of_role(found, "dev"))
        finals.append([row[name] for row in history for name in ("train_loss", "dev_loss")])
        weights.append(model.head.state_dict())
    assert finals[0][-2] < 0.8 * finals[0][0]
    for final, weight in zip(finals[1:], weights[1:], strict=True):
        assert final == pytest.approx(finals[0], rel=2e-4)
        torch.testing.assert_close(weight, weights[0], rtol=1e-3, atol=1e-4)


def test_the_dev_loss_is_of_all_clips_together(
    found: list[Example], values: Callable[[], Values]
) -> None:
    model, clips = values(), of_role(found, "train")
    fit = fit_of(model, budget_s=1.0)
    model.eval()
    outputs = torch.from_numpy(fit.outputs(model.logits, clips)).double()
    expected = by_metric(outputs, targets_of(clips).double())
    assert fit.mean_loss(model, clips) == pytest.approx(expected, rel=1e-5)
