"""Losses of the three systems, as sums over their items: the training loop divides once.

A sum and its weight are exact under any split of a batch into micro-batches; a mean is not.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.training.concordance import Concordance
from pipeline.work.device import send


class Cosine(nn.Module):
    """Cosine similarity of a vector with one weight vector per class (GMP-ATL, equation 3).

    No bias. ``forward`` maps (batch, width) to ``scale`` times the cosines, (batch, classes).
    """

    def __init__(self, width: int, classes: int, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, width))
        nn.init.xavier_uniform_(self.weight)
        self.scale = scale

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the scaled cosines, which are the logits outside training."""
        directions = functional.normalize(vectors, dim=-1)
        return self.scale * directions @ functional.normalize(self.weight, dim=-1).T


def with_margin(logits: Tensor, targets: Tensor, margin: float) -> Tensor:
    """AM-Softmax's training logits: ``margin`` (already scaled) taken off the target class.

    With ``logits = s cos`` and ``margin = s m``, cross-entropy of the result is equation 2 of
    GMP-ATL (Wang et al., 2018: additive margin softmax).

    Args:
        logits: (batch, classes).
        targets: (batch,), class indices.
        margin: ``s m``; 0 leaves the logits as they are.
    """
    return logits - margin * functional.one_hot(targets, logits.shape[-1])


def cross_entropy_sum(
    logits: Tensor, targets: Tensor, weights: Tensor | None = None, gamma: float = 0.0
) -> Tensor:
    """Cross-entropy summed over the items: logits (items, classes), targets (items,).

    Weighted by class and focal as `soft_cross_entropy_sum`.
    """
    if weights is None and not gamma:
        return functional.cross_entropy(logits.float(), targets, reduction="sum")
    return soft_cross_entropy_sum(
        logits, functional.one_hot(targets, logits.shape[-1]), weights, gamma
    )


def soft_cross_entropy_sum(
    logits: Tensor, targets: Tensor, weights: Tensor | None = None, gamma: float = 0.0
) -> Tensor:
    """Cross-entropy with distributions, weighted by class and focal, summed over the items.

    Each class counts ``-weight target (1 - p)^gamma log p``. One-hot targets make it the focal loss
    (Lin et al., 2017, equation 5), and with a gamma of 0 plain cross-entropy.

    Args:
        logits: (items, classes).
        targets: (items, classes), each row a distribution.
        weights: (classes,), as `pipeline.splits.imbalance.weights` has them; without: 1.
        gamma: How little counts what is already known.
    """
    logs = logits.float().log_softmax(-1)
    each = -targets * logs
    if gamma:
        # 1 - p keeps its digits; at 0 a power below 1 has no gradient.
        each = each * (-logs.expm1()).clamp(min=1e-12) ** gamma
    return (each if weights is None else each * weights).sum()


def mse_sum(values: Tensor, targets: Tensor) -> Tensor:
    """Squared errors summed over the known targets; (items, outputs) each, NaN where unknown."""
    return _errors(values, targets).square().sum()


def mae_sum(values: Tensor, targets: Tensor) -> Tensor:
    """Absolute errors summed over the known targets; arguments as of `mse_sum`."""
    return _errors(values, targets).abs().sum()


class Ratings(nn.Module):
    """The losses of what raters said: votes ``soft-ce``; dimensions ``ccc``, ``mse`` or ``mae``.

    Dimensions are compared in units of their deviations over the training clips, so that each
    weighs the same; `scaled` brings a network's outputs into the range of the ratings.
    """

    def __init__(self, name: str, means: Sequence[float], deviations: Sequence[float]) -> None:
        super().__init__()
        self.name, self.means, self.deviations = name, list(means), list(deviations)
        if name == "ccc":
            self.concordance = Concordance(len(means))

    def scaled(self, outputs: Tensor) -> Tensor:
        """Standardised outputs (items, dimensions) as ratings; logits of votes as they are."""
        if not self.means:
            return outputs
        means, deviations = self._scale(outputs)
        return outputs * deviations + means

    def forward(self, outputs: Tensor, targets: Tensor, gamma: float = 0.0) -> Tensor:
        """The loss summed over the items: logits or ratings, and shares or ratings.

        ``gamma`` is the focal loss's, of votes.
        """
        if self.name == "soft-ce":
            return soft_cross_entropy_sum(outputs, targets, gamma=gamma)
        means, deviations = self._scale(outputs)
        values, targets = ((one - means) / deviations for one in (outputs, targets))
        if self.name == "ccc":
            loss: Tensor = self.concordance(values, targets)
            return loss
        return mse_sum(values, targets) if self.name == "mse" else mae_sum(values, targets)

    def _scale(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        scale = send(torch.tensor([self.means, self.deviations]), outputs.device)
        return scale[0], scale[1]


def with_gender_sum(
    emotion: Tensor, gender_logits: Tensor, genders: Tensor, emotion_weight: float
) -> Tensor:
    """GMP-ATL, equation 1, summed over the clips; an unknown gender (-1) adds nothing.

    ``emotion`` is the summed loss of emotion: in the paper its cross-entropy.
    """
    gender = functional.cross_entropy(
        gender_logits.float(), genders, reduction="sum", ignore_index=-1
    )
    return emotion_weight * emotion + (1 - emotion_weight) * gender


def _errors(values: Tensor, targets: Tensor) -> Tensor:
    """The differences, 0 where a target is unknown."""
    known = ~targets.isnan()
    return torch.where(known, values.float() - targets.nan_to_num(), 0.0)
