"""Losses of the three systems, as sums over their items: the training loop divides once.

A sum and its weight are exact under any split of a batch into micro-batches; a mean is not.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


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


def cross_entropy_sum(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy summed over the items: logits (items, classes), targets (items,)."""
    return functional.cross_entropy(logits.float(), targets, reduction="sum")


def emotion_and_gender_sum(
    emotion_logits: Tensor,
    gender_logits: Tensor,
    emotions: Tensor,
    genders: Tensor,
    emotion_weight: float,
) -> Tensor:
    """GMP-ATL, equation 1, summed over the clips; an unknown gender (-1) adds nothing."""
    emotion = cross_entropy_sum(emotion_logits, emotions)
    gender = functional.cross_entropy(
        gender_logits.float(), genders, reduction="sum", ignore_index=-1
    )
    return emotion_weight * emotion + (1 - emotion_weight) * gender
