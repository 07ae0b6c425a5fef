"""The linear method: chosen on dev, standardised on train, saved whole."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import LinearSVC

from pipeline.ground.errors import PipelineError
from pipeline.methods import linear
from tests.speech import tone_clips


def data(project: Path) -> tuple[list, np.ndarray]:  # type: ignore[type-arg]
    found = tone_clips(60, classes=3)
    rng = np.random.default_rng(0)
    labels = np.array([example.label for example in found])
    return found, (np.eye(3)[labels] * 1.5 + rng.standard_normal((60, 3))).astype(np.float32)


def test_it_is_logistic_regression_on_standardised_training_features(project: Path) -> None:
    found, inputs = data(project)
    train = np.array([example.role == "train" for example in found])
    labels = np.array([example.label for example in found])
    mean, scale = inputs[train].mean(0), inputs[train].std(0)
    peer = LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000)
    peer.fit((inputs[train] - mean) / scale, labels[train])
    model = linear.fit("logistic", "emotion", found, inputs, [0.1])
    expected = peer.predict_log_proba((inputs - mean) / scale)
    np.testing.assert_allclose(linear.logits(model, inputs), expected, atol=1e-3)


def test_an_svm_is_scikit_learns_on_standardised_training_features(project: Path) -> None:
    found, inputs = data(project)
    train = np.array([example.role == "train" for example in found])
    labels = np.array([example.label for example in found])
    for classes in (3, 2):
        chosen = labels < classes
        some = [example for example in found if example.label < classes]
        fitted = chosen & train
        mean, scale = inputs[fitted].mean(0), inputs[fitted].std(0)
        peer = LinearSVC(C=0.01, class_weight="balanced", random_state=0)
        peer.fit((inputs[fitted] - mean) / scale, labels[fitted])
        got = linear.logits(
            linear.fit("svm", "emotion", some, inputs[chosen], [0.01]), inputs[chosen]
        )
        expected = peer.decision_function((inputs[chosen] - mean) / scale)
        assert got.shape == (chosen.sum(), classes)
        np.testing.assert_allclose(got if classes == 3 else got[:, 1] * 2, expected, atol=1e-3)
        assert np.array_equal(got.argmax(1), peer.predict((inputs[chosen] - mean) / scale))


def test_what_is_saved_is_enough_to_predict(project: Path) -> None:
    found, inputs = data(project)
    model = linear.fit("logistic", "emotion", found, inputs, [1.0])
    linear.save(model, project / "model.safetensors")
    t = load_file(project / "model.safetensors")
    logits = (inputs - t["mean"]) / t["scale"] @ t["weight"].T + t["bias"]
    expected = linear.logits(model, inputs)
    np.testing.assert_allclose(log_softmax(logits, axis=1), expected, atol=1e-4)


def test_the_strength_is_chosen_on_dev_and_test_is_never_seen(project: Path) -> None:
    found, inputs = data(project)
    model = linear.fit("logistic", "emotion", found, inputs, [1e-6, 1.0])
    roles = np.array([example.role for example in found])
    planted = inputs.copy()
    planted[roles == "test"] = 1e3
    again = linear.fit("logistic", "emotion", found, planted, [1e-6, 1.0])
    assert np.array_equal(model[-1].coef_, again[-1].coef_)
    worse = inputs.copy()
    worse[roles == "dev"] = np.random.default_rng(9).permutation(worse[roles == "dev"])
    assert model[-1].C in (1e-6, 1.0)
    assert linear.fit("logistic", "emotion", found, worse, [1.0]).steps[-1][1].C == 1.0


def test_dimensions_are_ridge_regression_and_come_back_from_their_file(project: Path) -> None:
    found, inputs = data(project)
    values = inputs @ np.array([[1, 0], [0.5, -1], [0, 2]]) + 3
    found = [replace(e, values=tuple(v)) for e, v in zip(found, values.tolist(), strict=True)]
    train = np.array([example.role == "train" for example in found])
    mean, scale = inputs[train].mean(0), inputs[train].std(0)
    model = linear.fit("logistic", "dimensions", found, inputs, [0.1])
    peer = Ridge(10).fit((inputs[train] - mean) / scale, values[train])
    expected = peer.predict((inputs - mean) / scale)
    np.testing.assert_allclose(linear.logits(model, inputs), expected, atol=1e-4)
    linear.save(model, project / "model.safetensors")
    again = linear.load(project / "model.safetensors")
    np.testing.assert_allclose(again(inputs), expected, atol=1e-4)
    # Weak regularisation fits exactly, and dev sees it.
    assert (
        linear.fit("logistic", "dimensions", found, inputs, [1e-6, 1e6]).steps[-1][1].alpha == 1e-6
    )


def test_one_dimension_is_one_column(project: Path) -> None:
    found, inputs = data(project)
    found = [replace(e, values=(float(x[0]),)) for e, x in zip(found, inputs, strict=True)]
    model = linear.fit("logistic", "dimensions", found, inputs, [1e6])
    linear.save(model, project / "model.safetensors")
    for got in (linear.logits(model, inputs), linear.load(project / "model.safetensors")(inputs)):
        np.testing.assert_allclose(got, inputs[:, :1], atol=1e-3)


def test_a_clip_of_which_a_value_is_unknown_teaches_nothing(project: Path) -> None:
    found, inputs = data(project)
    rated = [replace(e, values=(float(x[0]), 1.0)) for e, x in zip(found, inputs, strict=True)]
    some = [replace(e, values=(9.0, math.nan)) if n % 3 else e for n, e in enumerate(rated)]
    whole = [n for n in range(len(rated)) if not n % 3]
    model = linear.fit("logistic", "dimensions", some, inputs, [1.0])
    alone = linear.fit("logistic", "dimensions", [rated[n] for n in whole], inputs[whole], [1.0])
    np.testing.assert_array_equal(linear.logits(model, inputs), linear.logits(alone, inputs))
    none = [replace(e, values=(math.nan, 1.0)) for e in rated]
    with pytest.raises(PipelineError, match="no training clip has all values"):
        linear.fit("logistic", "dimensions", none, inputs, [1.0])


def test_votes_minimise_the_cross_entropy_with_their_shares(project: Path) -> None:
    """At the minimum the gradient, that of cross-entropy with soft labels and of the norm, is 0."""
    found, inputs = data(project)
    shares = np.random.default_rng(2).dirichlet(np.ones(3), len(found))
    found = [replace(e, values=tuple(s)) for e, s in zip(found, shares.tolist(), strict=True)]
    train = np.array([example.role == "train" for example in found])
    strength = 0.3
    model = linear.fit("logistic", "votes", found, inputs, [strength])
    scaled = (inputs[train] - inputs[train].mean(0)) / inputs[train].std(0)
    guess = np.exp(linear.logits(model, inputs))[train]
    slope = (guess - shares[train]).T @ scaled * strength + model.steps[-1][1].coef_
    assert np.abs(slope).max() < 1e-2
    with pytest.raises(PipelineError, match="kind svm learns classes alone, not votes"):
        linear.fit("svm", "votes", found, inputs, [strength])


def test_what_is_far_from_the_training_features_has_finite_logits(project: Path) -> None:
    """Where scikit-learn's probabilities are 0 and their logarithms are not finite."""
    found, inputs = data(project)
    labels = np.array([example.label for example in found])
    for classes in (3, 2):
        some = [example for example in found if example.label < classes]
        model = linear.fit("logistic", "emotion", some, inputs[labels < classes], [1.0])
        far = inputs[labels < classes] * 5000
        with np.errstate(divide="ignore"):
            peer = model.predict_log_proba(far)
        got = linear.logits(model, far)
        assert np.isfinite(got).all()
        assert not np.isfinite(peer).all()
        kept = np.isfinite(peer)
        assert np.array_equal(got[kept], peer[kept].astype(np.float32))
        # An utterance's probabilities are known by their ratios, which lie in the planes.
        planes = model.decision_function(far)
        ratios = got[:, 1] - got[:, 0]
        expected = planes if classes == 2 else planes[:, 1] - planes[:, 0]
        np.testing.assert_allclose(ratios, expected, rtol=1e-3, atol=1e-3)
