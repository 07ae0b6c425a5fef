"""How clips lie one behind the other: bounds, and the clip and place of every row.

A row is whatever a clip has many of: a frame, or a stretch of samples. Only the clips' lengths go
to the device; what follows from them is computed there, so that the host never waits for it.
"""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.work.device import send


class Packing:
    """Clips of ``rows`` rows each, one behind the other.

    Attributes:
        rows: Of each clip, on the host.
        counts: The same, int64 (clips,) on the device.
        total: All rows.
        longest: The most rows of a clip.
    """

    def __init__(self, rows: Sequence[int], device: torch.device) -> None:
        self.rows = list(rows)
        self.counts = send(torch.tensor(self.rows), device)
        self.total, self.longest = sum(self.rows), max(self.rows)

    @cached_property
    def ends(self) -> Tensor:
        """The first row of each clip, and the end of the last: int32 (clips + 1,)."""
        return functional.pad(self.counts.cumsum(0), (1, 0)).int()

    @cached_property
    def clip(self) -> Tensor:
        """The clip that a row belongs to, int64 (rows,)."""
        clips = torch.arange(len(self.rows), device=self.counts.device)
        return torch.repeat_interleave(clips, self.counts, output_size=self.total)

    @cached_property
    def place(self) -> Tensor:
        """The number of a row in its clip, int64 (rows,)."""
        return torch.arange(self.total, device=self.counts.device) - self.ends[self.clip]

    def spaced(self, start: Tensor) -> Tensor:
        """Where the rows lie if the clips start at ``start``, (clips,), int64 (rows,)."""
        return start[self.clip] + self.place

    def sum(self, rows: Tensor) -> Tensor:
        """The sum of each clip's rows: (rows, ...) to (clips, ...)."""
        # Unsafe: without a check that would wait for the device.
        return torch.segment_reduce(rows, "sum", lengths=self.counts, axis=0, unsafe=True)

    def mean(self, rows: Tensor) -> Tensor:
        """The mean of each clip's rows, summed in fp64: (rows, width) to fp32 (clips, width)."""
        return (self.sum(rows.double()) / self.counts[:, None]).float()

    def padded(self, rows: Tensor) -> Tensor:
        """Packed rows, (rows, width), as (clips, longest, width), with zeros behind each clip."""
        clips, width = len(self.rows), rows.shape[1]
        if clips == 1:
            return rows[None]
        starts = self.longest * torch.arange(clips, device=rows.device)
        made = rows.new_zeros(clips * self.longest, width)
        return made.index_copy(0, self.spaced(starts), rows).view(clips, self.longest, width)
