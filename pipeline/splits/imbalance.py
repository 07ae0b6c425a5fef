"""Classes of unequal size: how much a clip of each weighs in a loss, and how often it is drawn."""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

Weighting = Literal["none", "balanced", "effective-number"]
Beta = Annotated[float, Field(ge=0, lt=1)]
Floats = npt.NDArray[np.float64]


def weights(kind: Weighting, labels: Sequence[int], classes: int, beta: float) -> Floats | None:
    """The weight of each class in a loss, (classes,); None where they weigh the same.

    ``balanced`` is scikit-learn's ``n / (classes n_c)``, 1 a clip on average. ``effective-number``
    is ``(1 - beta) / (1 - beta^n_c)``, scaled to 1 a class on average (Cui et al., 2019,
    equation 4): that of ``none`` for a beta of 0, and in the proportion of ``balanced`` near 1.

    Args:
        kind: Which of them.
        labels: Of the training clips; every class has one.
        classes: How many there are.
        beta: Of ``effective-number`` alone.
    """
    if kind == "none":
        return None
    counts = np.bincount(labels, minlength=classes)
    if kind == "balanced":
        return np.asarray(len(labels) / (classes * counts))
    each = (1 - beta) / (1 - beta**counts)
    return np.asarray(each * classes / each.sum())
