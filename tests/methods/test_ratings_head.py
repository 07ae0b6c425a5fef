"""Heads that learn what raters said: losses in the units of the target, outputs in its range."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.methods import emotion_head
from pipeline.methods.finetuning import OwnLoss
from pipeline.splits.task import Example
from pipeline.training.losses import Ratings
from tests.speech import tone_clips
from tests.training.test_fit import DESIGN

MEANS, DEVIATIONS = [4.0, 2.5], [1.5, 0.5]


def head_of(loss: Any, **changes: Any) -> emotion_head.EmotionHead:
    torch.manual_seed(0)
    design = DESIGN.model_copy(update={"loss": OwnLoss(name=loss), **changes})
    return emotion_head.build(design)


def affect(loss: Any) -> emotion_head.EmotionHead:
    return head_of(loss, target="dimensions", means=MEANS, deviations=DEVIATIONS)


def rated(values: list[tuple[float, ...]]) -> list[Example]:
    return [
        replace(tone, values=one) for tone, one in zip(tone_clips(len(values)), values, strict=True)
    ]


def test_training_starts_at_the_mean_ratings(project: object) -> None:
    head = affect("ccc")
    outputs = head.of_means([torch.randn(5, DESIGN.width)])
    torch.testing.assert_close(outputs, torch.tensor([MEANS] * 5))


@pytest.mark.parametrize("loss", ["mse", "mae", "ccc"])
def test_each_dimension_is_compared_in_its_own_deviation(project: object, loss: Any) -> None:
    head, rng = affect(loss), np.random.default_rng(0)
    truth = rng.normal(MEANS, DEVIATIONS, (6, 2))
    guess = rng.normal(MEANS, DEVIATIONS, (6, 2))
    found = rated([tuple(row) for row in truth.tolist()])
    got, count = head.loss(torch.tensor(guess, dtype=torch.float32), found)
    x, y = ((one - MEANS) / DEVIATIONS for one in (guess, truth))
    if loss == "ccc":  # Lin, 1989, by hand
        covariance = ((x - x.mean(0)) * (y - y.mean(0))).mean(0)
        concordance = 2 * covariance / (x.var(0) + y.var(0) + (x.mean(0) - y.mean(0)) ** 2)
        expected = 6 * (1 - concordance).mean()
    else:
        expected = ((x - y) ** 2).sum() if loss == "mse" else np.abs(x - y).sum()
    assert count == 6
    assert float(got) == pytest.approx(expected, rel=1e-5)


def test_votes_are_learnt_by_their_shares(project: object) -> None:
    head = head_of("soft-ce", target="votes")
    logits = torch.tensor([[1.0, -1.0], [0.5, 2.0]])
    got, _ = head.loss(logits, rated([(0.25, 0.75), (1.0, 0.0)]))
    logs = logits.log_softmax(1)
    expected = -(0.25 * logs[0, 0] + 0.75 * logs[0, 1] + logs[1, 0])
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(head.ratings.scaled(logits), logits)


def test_what_fixes_a_head_of_dimensions_is_in_its_folder(project: Any) -> None:
    head = affect("mse")
    with torch.no_grad():
        head.classifier.weight.normal_()
    folder = project / "head"
    folder.mkdir()
    emotion_head.save(head, folder)
    means = [torch.randn(3, DESIGN.width)]
    again = emotion_head.load(folder)
    torch.testing.assert_close(again.of_means(means), head.eval().of_means(means))


def test_outputs_are_in_the_range_of_the_ratings() -> None:
    ratings = Ratings("mse", MEANS, DEVIATIONS)
    scaled = ratings.scaled(torch.tensor([[0.0, 0.0], [1.0, -2.0]]))
    torch.testing.assert_close(scaled, torch.tensor([[4.0, 2.5], [5.5, 1.5]]))
