"""Confident learning: which labels out-of-sample probabilities speak against.

"Confident Learning: Estimating Uncertainty in Dataset Labels" (Northcutt, Jiang and Chuang 2021,
section 3): the off-diagonal of the confident joint, ranked by normalised margin.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.metrics.arrays import Floats, Ints


@dataclass(frozen=True)
class Disputes:
    """Of each utterance (utterances,): whether its label is disputed, for which class, how surely.

    ``margin`` is the probability of the label less that of the likeliest other class, -1 to 1.
    """

    disputed: npt.NDArray[np.bool_]
    other: Ints
    margin: Floats

    def ranked(self) -> list[int]:
        """The disputed ones, the surest first."""
        order = np.argsort(self.margin, kind="stable")
        return [int(row) for row in order if self.disputed[row]]


def find(told: Floats, labels: Ints) -> Disputes:
    """What probabilities (utterances, classes) of classifiers that had not seen them dispute.

    A class is meant where its probability is at least the mean that it has over the utterances
    labelled so (equation 2); of several, the likeliest. Where the label itself is the likeliest
    class of all, nothing is disputed.
    """
    rows, labelled = np.arange(len(labels)), np.eye(told.shape[1], dtype=bool)[labels]
    counts = labelled.sum(0)
    sums = np.where(labelled, told, 0).sum(0)
    least = np.divide(sums, counts, out=np.full(len(counts), np.inf), where=counts > 0)
    meant = np.where(told >= least, told, -1)
    disputed = (meant.max(1) >= 0) & (meant.argmax(1) != labels) & (told.argmax(1) != labels)
    others = np.where(labelled, -1, told)
    other = np.where(disputed, meant.argmax(1), others.argmax(1))
    return Disputes(disputed, other, told[rows, labels] - others.max(1))
