"""The linear method: chosen on dev, standardised on train, saved whole."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

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
    model = linear.fit("logistic", found, inputs, [0.1])
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
        got = linear.logits(linear.fit("svm", some, inputs[chosen], [0.01]), inputs[chosen])
        expected = peer.decision_function((inputs[chosen] - mean) / scale)
        assert got.shape == (chosen.sum(), classes)
        np.testing.assert_allclose(got if classes == 3 else got[:, 1] * 2, expected, atol=1e-3)
        assert np.array_equal(got.argmax(1), peer.predict((inputs[chosen] - mean) / scale))


def test_what_is_saved_is_enough_to_predict(project: Path) -> None:
    found, inputs = data(project)
    model = linear.fit("logistic", found, inputs, [1.0])
    linear.save(model, project / "model.safetensors")
    t = load_file(project / "model.safetensors")
    logits = (inputs - t["mean"]) / t["scale"] @ t["weight"].T + t["bias"]
    expected = linear.logits(model, inputs)
    np.testing.assert_allclose(log_softmax(logits, axis=1), expected, atol=1e-4)


def test_the_strength_is_chosen_on_dev_and_test_is_never_seen(project: Path) -> None:
    found, inputs = data(project)
    model = linear.fit("logistic", found, inputs, [1e-6, 1.0])
    roles = np.array([example.role for example in found])
    planted = inputs.copy()
    planted[roles == "test"] = 1e3
    again = linear.fit("logistic", found, planted, [1e-6, 1.0])
    assert np.array_equal(model[-1].coef_, again[-1].coef_)
    worse = inputs.copy()
    worse[roles == "dev"] = np.random.default_rng(9).permutation(worse[roles == "dev"])
    assert model[-1].C in (1e-6, 1.0)
    assert linear.fit("logistic", found, worse, [1.0]).steps[-1][1].C == 1.0
