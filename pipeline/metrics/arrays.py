"""Array types, and quotients and means that leave out what is unknown."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]


def ratio(part: npt.NDArray[np.number], whole: npt.NDArray[np.number]) -> Floats:
    """The quotient, NaN where the whole is empty."""
    unknown = np.full(np.shape(whole), np.nan)
    quotient: Floats = np.divide(part, whole, out=unknown, where=whole > 0)
    return quotient


def mean(each: Floats) -> Floats:
    """The mean over the last axis of what is not NaN."""
    known = ~np.isnan(each)
    return ratio(np.where(known, each, 0).sum(-1), known.sum(-1))
