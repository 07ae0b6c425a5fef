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


def test_directions_one_by_one_are_those_of_the_lstm() -> None:
    torch.manual_seed(0)
    lstm, lengths = torch.nn.LSTM(3, 4, batch_first=True, bidirectional=True), [7, 1, 5]
    frames = torch.randn(3, 7, 3, requires_grad=True)
    found = []
    for run in (heads.run_lstm, heads.by_direction):
        lstm.zero_grad()
        states = run(lstm, frames, torch.tensor(lengths))
        (gradient,) = torch.autograd.grad(states.square().sum(), frames, retain_graph=True)
        weights = torch.autograd.grad(states.square().sum(), list(lstm.parameters()))
        found.append([states, gradient, *weights])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
