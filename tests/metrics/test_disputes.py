"""Confident learning, against cleanlab, a matrix by hand and planted errors."""

import numpy as np
import pytest
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_normalized_margin_for_each_label
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from pipeline.metrics import disputes


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 7), st.floats(0, 3), st.floats(0, 0.4))
def test_it_is_what_cleanlab_finds(seed: int, classes: int, skill: float, noise: float) -> None:
    rng = np.random.default_rng(seed)
    # Every class is labelled: cleanlab asks for that.
    truth = np.concatenate([np.arange(classes), rng.integers(0, classes, 120)])
    told = softmax(rng.normal(0, 1, (len(truth), classes)) + skill * np.eye(classes)[truth], 1)
    flipped = rng.random(len(truth)) < noise
    flipped[:classes] = False
    labels = np.where(flipped, rng.integers(0, classes, len(truth)), truth)
    found = disputes.find(told, labels)
    peer = find_label_issues(
        labels, told, filter_by="confident_learning",
        return_indices_ranked_by="normalized_margin", n_jobs=1,
    )  # fmt: skip
    # Of several classes that pass it takes the likeliest of all, which the paper's equation 2 does
    # not where that one passes not: such utterances are left aside.
    least = np.array([told[labels == c, c].mean() for c in range(classes)])
    passing = told >= least
    aside = (passing.sum(1) > 1) & ~passing[np.arange(len(told)), told.argmax(1)]
    assert [r for r in found.ranked() if not aside[r]] == [r for r in peer if not aside[r]]
    margins = get_normalized_margin_for_each_label(labels, told)
    np.testing.assert_allclose((found.margin + 1) / 2, margins, atol=1e-12)


def test_a_matrix_by_hand() -> None:
    told = np.array(
        [
            [0.9, 0.1, 0.0],
            [0.5, 0.4, 0.1],
            [0.1, 0.8, 0.1],  # labelled 0: class 1's mean is 0.5, which 0.8 passes
            [0.2, 0.6, 0.2],
            [0.3, 0.4, 0.3],  # labelled 1
            [0.48, 0.46, 0.06],  # labelled 1: likelier 0, but not by class 0's mean of 0.5
        ]
    )
    found = disputes.find(told, np.array([0, 0, 0, 1, 1, 1]))
    assert found.disputed.tolist() == [False, False, True, False, False, False]
    assert found.other[2] == 1
    np.testing.assert_allclose(found.margin, [0.8, 0.1, -0.7, 0.4, 0.1, -0.02])
    assert found.ranked() == [2]


@pytest.mark.parametrize("seed", range(3))
def test_of_equal_margins_the_first_comes_first_and_no_class_without_label_is_meant(
    seed: int,
) -> None:
    told = np.tile([[0.1, 0.3, 0.6]], (4, 1))
    assert disputes.find(told, np.zeros(4, int)).ranked() == []  # nobody is labelled 1 or 2
    told = np.concatenate([told, [[0.1, 0.4, 0.5]]])
    assert disputes.find(told, np.array([0, 0, 0, 0, 2])).ranked() == [0, 1, 2, 3]
