"""Whether a confidence is what it says: of answers given with 0.8, eight in ten should be right."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.metrics.arrays import Floats, Ints, ratio

BINS = 15  # of Guo et al., 2017


@dataclass(frozen=True)
class Reliability:
    """What answers do in each bin of confidence, (bins,); the last two are NaN in an empty one."""

    counts: Ints
    confidence: Floats
    accuracy: Floats

    @property
    def ece(self) -> float:
        """Expected calibration error: |accuracy - confidence|, mean over all answers.

        Guo et al., 2017, equation 3. NaN where there is no answer.
        """
        gaps = np.nan_to_num(np.abs(self.accuracy - self.confidence))
        return float(ratio(self.counts @ gaps, self.counts.sum()))


def reliability(confidence: Floats, right: npt.NDArray[np.bool_], bins: int = BINS) -> Reliability:
    """Sort answers into bins of equal width, each open below and closed above (Guo et al., 2017).

    Args:
        confidence: (answers,) the probability of the class that was answered, in [0, 1].
        right: (answers,) whether it is the true one.
        bins: How many; a confidence of 0 is in the first.
    """
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, part, bins) for part in (confidence, right)]
    return Reliability(counts.astype(np.int64), *(ratio(part, counts) for part in sums))
