"""The linear method: logistic regression or a linear SVM on vectors pooled from cached embeddings.

Of dimensions it is ridge regression, of votes logistic regression on the shares of each class.

The baseline that any encoder has to beat: no gradient passes the encoder, and it fits in a second.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from pipeline.embeddings.reader import Embeddings
from pipeline.encoders.layers import Layer
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.methods.finetuning import Target
from pipeline.metrics import agreement
from pipeline.splits.task import Example

Vectors = npt.NDArray[np.float32]

Kind = Literal["logistic", "svm"]
Weights = Mapping[int, float] | Literal["balanced"] | None

# Logistic regression on standardised features converges well below this. An SVM with weak
# regularisation may not, and then stays behind on dev.
MAX_ITERATIONS = 2000


def vectors(
    corpora: Sequence[Embeddings], layer: Layer, found: Sequence[Example], deviation: bool
) -> Vectors:
    """One vector per example: the mean over time, with ``deviation`` also the standard deviation.

    Args:
        corpora: Each corpus' embeddings.
        layer: Whose means (and frames) are read.
        found: The examples whose clips are wanted.

    Returns:
        (examples, width) or (examples, 2 width), in the order of ``found``.
    """
    by_clip: dict[str, Vectors] = {}
    wanted = {example.clip.clip for example in found}
    for embeddings in corpora:
        for clip, mean in zip(embeddings.clips, embeddings.means(layer), strict=True):
            if clip in wanted:
                spread = [embeddings.frames(clip, layer).std(0)] if deviation else []
                by_clip[clip] = np.concatenate([mean, *spread])
    return np.stack([by_clip[example.clip.clip] for example in found])


def fit(
    kind: Kind,
    target: Target,
    found: Sequence[Example],
    inputs: Vectors,
    strengths: Sequence[float],
    weights: Weights = "balanced",
) -> Pipeline:
    """Fit on train; the inverse regularisation strength with the best score on dev is kept.

    The score is UAR, of votes the cross-entropy, of dimensions the mean concordance. Of equals the
    first. Statistics for standardisation come from train alone. Without dev examples the first
    strength is taken. ``weights`` are scikit-learn's ``class_weight``; of votes each clip weighs
    the same. A clip of which a value is unknown teaches nothing.

    Raises:
        PipelineError: An SVM is to learn votes, or no training clip has all values.
    """
    roles = np.array([example.role for example in found])
    whole = np.array([not any(map(math.isnan, example.values)) for example in found])
    train, dev = whole & (roles == "train"), whole & (roles == "dev")
    if not train.any():
        raise PipelineError(
            "params.yaml: methods.cached has linear, for which no training clip has all values of "
            "its task, remove it there, or one of the corpora"
        )
    learn, rate = _ways(kind, target, found, weights)

    def fitted(strength: float) -> Pipeline:
        scaler = StandardScaler().fit(inputs[train])
        return make_pipeline(scaler, learn(strength, scaler.transform(inputs[train]), train))

    if not dev.any():
        return fitted(strengths[0])
    models = [fitted(strength) for strength in strengths]
    return max(models, key=lambda model: rate(model, inputs[dev], dev))


Rows = npt.NDArray[np.bool_]
Learn = Callable[[float, Vectors, Rows], Any]
Rate = Callable[[Any, Vectors, Rows], float]


def _ways(
    kind: Kind, target: Target, found: Sequence[Example], weights: Weights
) -> tuple[Learn, Rate]:
    """How a target is learnt with a strength from rows of vectors, and how that is rated."""
    labels, values = np.array([e.label for e in found]), np.array([e.values for e in found])
    if target == "dimensions":
        return (
            lambda strength, x, rows: Ridge(1 / strength).fit(x, values[rows]),
            lambda model, x, rows: _concordance(values[rows], model.predict(x)),
        )
    if target == "votes":
        if kind == "svm":
            raise PipelineError(
                "params.yaml: finetune.methods.linear.kind svm learns classes alone, not votes, "
                "use logistic"
            )
        return (
            lambda strength, x, rows: _of_shares(strength, x, values[rows]),
            lambda model, x, rows: float((values[rows] * model.predict_log_proba(x)).sum()),
        )
    return (
        lambda strength, x, rows: _classifier(kind, strength, weights).fit(x, labels[rows]),
        lambda model, x, rows: float(balanced_accuracy_score(labels[rows], model.predict(x))),
    )


def _of_shares(strength: float, inputs: Vectors, shares: npt.NDArray[Any]) -> LogisticRegression:
    """Cross-entropy with shares (clips, classes) is that of each class by its share as weight."""
    clips, classes = shares.nonzero()
    model = LogisticRegression(C=strength, max_iter=MAX_ITERATIONS)
    return model.fit(inputs[clips], classes, sample_weight=shares[clips, classes])


def _concordance(truth: npt.NDArray[Any], guess: npt.NDArray[Any]) -> float:
    pairs = zip(truth.T, guess.reshape(truth.shape).T, strict=True)
    return float(np.nan_to_num([agreement.concordance(*pair) for pair in pairs]).mean())


def logits(model: Any, inputs: Vectors) -> Vectors:
    """(examples, outputs): log probabilities, signed distances from an SVM's planes, or values."""
    if isinstance(model[-1], Ridge):
        values = model.predict(inputs).reshape(len(inputs), -1)
        return np.asarray(values, np.float32)
    values = model.decision_function(inputs)
    if values.ndim == 1:  # two classes share one plane
        values = np.stack([-values / 2, values / 2], 1)
    if hasattr(model, "predict_log_proba"):
        with np.errstate(divide="ignore"):
            told = model.predict_log_proba(inputs)
        # Far from what it was fitted on, as in another corpus, a probability is 0.
        values = np.where(np.isfinite(told), told, log_softmax(values, 1))
    result: Vectors = values.astype(np.float32)
    return result


def save(model: Pipeline, path: Path) -> None:
    """Write the standardisation and the planes as safetensors: all that prediction needs."""
    scaler, planes = (step for _, step in model.steps)
    tensors = {
        "mean": scaler.mean_,
        "scale": scaler.scale_,
        "weight": np.atleast_2d(planes.coef_),
        "bias": np.atleast_1d(planes.intercept_),
    }
    if not isinstance(planes, Ridge):
        tensors["classes"] = planes.classes_
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)


def load(path: Path) -> Callable[[Vectors], Vectors]:
    """What `save` wrote as a function from vectors (examples, width) to logits (examples, classes).

    Their softmax is that of `logits`; of dimensions they are the values.

    Raises:
        PipelineError: The file is missing, damaged, or its parts do not fit each other.
    """
    with files.unchanged(path):
        files.require_intact(path)
        found = load_file(path)
    mean, scale, weight, bias = used = [found[n] for n in ("mean", "scale", "weight", "bias")]
    shapes = weight.shape[1:], weight.shape[1:], weight.shape, weight.shape[:1]
    finite = all(np.isfinite(values).all() for values in used) and (scale > 0).all()
    if weight.ndim != 2 or [values.shape for values in used] != list(shapes) or not finite:
        raise PipelineError(
            f"{path}: its mean, scale, weight and bias must be finite, of one width and of as many "
            "classes, run `dvc repro`"
        )

    def planes(inputs: Vectors) -> Vectors:
        values = (inputs - mean) / scale @ weight.T + bias
        if values.shape[1] == 1 and "classes" in found:  # two classes share one plane
            values = np.concatenate([-values / 2, values / 2], 1)
        result: Vectors = values.astype(np.float32)
        return result

    return planes


def _classifier(kind: Kind, strength: float, weights: Weights) -> LogisticRegression | LinearSVC:
    shared = {"C": strength, "class_weight": weights, "max_iter": MAX_ITERATIONS}
    # liblinear visits the examples of its dual problem in a random order.
    return (
        LogisticRegression(**shared) if kind == "logistic" else LinearSVC(**shared, random_state=0)
    )
