"""Heads: only valid frames count, whatever the batch."""

import torch
from torch import nn

from pipeline.training import heads

torch.manual_seed(0)
FRAMES = torch.randn(3, 9, 6)
LENGTHS = torch.tensor([9, 4, 1])


def test_mean_over_time_by_hand() -> None:
    expected = torch.stack([FRAMES[i, :n].mean(0) for i, n in enumerate(LENGTHS.tolist())])
    torch.testing.assert_close(heads.mean_over_time(FRAMES, LENGTHS), expected)


def test_two_layers_has_one_relu_between_two_linear_layers() -> None:
    kinds = [type(layer) for layer in heads.two_layers(4, 3, 2)]
    assert kinds == [nn.Linear, nn.ReLU, nn.Linear]
