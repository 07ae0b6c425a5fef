"""The loss 1 - concordance over a batch, exact however the batch is cut and shared.

Lin's concordance is no sum over clips, but it follows from a few sums: the moments of values and
targets. A batch in several parts passes twice: first for its moments, without gradients (`known`),
then each part with the slope of the loss by them, and these gradients sum up to that of the whole.
A batch in one part passes once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pipeline.work.processes import Processes

LEAST = 1e-12  # a denominator: the concordance of values that are all the same is 0
MOMENTS = 7


class Concordance(nn.Module):
    """1 - Lin's concordance (1989) over the clips of a batch, mean over the outputs.

    Over the batch: a larger one tells more of the concordance, and one clip alone teaches nothing.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.sums: Tensor | None = None  # of the whole batch, where it passes in parts
        self.gathers = False

    def forward(self, values: Tensor, targets: Tensor) -> Tensor:
        """The whole batch's loss times the clips of this part: as if it were a sum over clips.

        Args:
            values: (clips, outputs).
            targets: (clips, outputs), NaN where unknown: left out of that output.
        """
        own, clips = moments(values, targets), len(values)
        if self.gathers and self.sums is not None:
            self.sums += own.detach()
        if self.gathers or self.sums is None:
            return clips * loss_of(own)
        if not own.requires_grad:
            return clips * loss_of(self.sums)
        at = self.sums.clone().requires_grad_()
        loss = loss_of(at)
        slope = torch.autograd.grad(loss, at)[0]
        nothing = (slope * (own - own.detach())).sum()  # 0, whose gradient is this part's
        return clips * loss.detach() + self.sums[0, 0] * nothing


def moments(values: Tensor, targets: Tensor) -> Tensor:
    """Sums over clips, (moments, outputs), in double precision, which differences of them need.

    Clips, then those with a target; of these values, targets, both squares and the product.
    """
    known = ~targets.isnan()
    x, y = values.double() * known, targets.double().nan_to_num()
    parts = [torch.ones_like(y), known.double(), x, y, x * x, y * y, x * y]
    return torch.stack([part.sum(0) for part in parts])


def loss_of(sums: Tensor) -> Tensor:
    """1 - concordance, mean over the outputs, of `moments`."""
    x, y, xx, yy, xy = sums[2:] / sums[1].clamp(min=1)
    whole = xx + yy - 2 * x * y  # both variances, and the squared difference of the means
    loss: Tensor = (1 - 2 * (xy - x * y) / whole.clamp(min=LEAST)).mean()
    return loss


def within(models: Iterable[nn.Module]) -> list[Concordance]:
    """The losses of whole batches that are in ``models``."""
    return [part for model in models for part in model.modules() if isinstance(part, Concordance)]


@contextmanager
def known(
    found: Sequence[Concordance],
    passes: Callable[[], None],
    device: torch.device,
    processes: Processes,
) -> Iterator[None]:
    """Inside, each loss in ``found`` is that of all the clips that ``passes`` lets pass.

    They may be shared among processes, each of which passes its own, or none.
    """
    try:
        sums = [torch.zeros(MOMENTS, one.outputs, dtype=torch.float64).to(device) for one in found]
        for one, zeros in zip(found, sums, strict=True):
            one.sums, one.gathers = zeros, True
        if found:
            with torch.no_grad():
                passes()
            processes.sum(sums)
        for one in found:
            one.gathers = False
        yield
    finally:
        for one in found:
            one.sums, one.gathers = None, False
