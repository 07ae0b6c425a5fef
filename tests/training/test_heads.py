"""Heads: only valid frames count, whatever the batch."""

import math

import torch
from torch import nn

from pipeline.training import heads

torch.manual_seed(0)
FRAMES = torch.randn(3, 9, 6)
LENGTHS = torch.tensor([9, 4, 1])


def test_mean_over_time_by_hand() -> None:
    expected = torch.stack([FRAMES[i, :n].mean(0) for i, n in enumerate(LENGTHS.tolist())])
    torch.testing.assert_close(heads.mean_over_time(FRAMES, LENGTHS), expected)


def test_mean_and_maximum_by_hand() -> None:
    found = heads.mean_max(FRAMES - 5, LENGTHS)  # padding would be the highest
    for i, n in enumerate(LENGTHS.tolist()):
        clip = FRAMES[i, :n] - 5
        torch.testing.assert_close(found[i], torch.cat([clip.mean(0), clip.amax(0)]))


def test_attentive_statistics_by_hand() -> None:
    """Equations 2 to 6 of Okabe et al. (2018), frame by frame."""
    torch.manual_seed(1)
    layer = heads.AttentiveStatistics(6)
    with torch.no_grad():
        layer.score.weight *= 5  # else all frames weigh nearly the same
    found = layer(FRAMES, LENGTHS)
    w, b, v = layer.hidden.weight, layer.hidden.bias, layer.score.weight[0]
    for i, n in enumerate(LENGTHS.tolist()):
        scores = [(v @ torch.tanh(w @ FRAMES[i, t] + b)).item() for t in range(n)]
        whole = math.fsum(math.exp(score) for score in scores)
        weights = [math.exp(score) / whole for score in scores]
        mean = torch.stack([a * FRAMES[i, t] for t, a in enumerate(weights)]).sum(0)
        square = torch.stack([a * FRAMES[i, t] ** 2 for t, a in enumerate(weights)]).sum(0)
        deviation = (square - mean**2).clamp(min=heads.LEAST_VARIANCE).sqrt()
        torch.testing.assert_close(found[i], torch.cat([mean, deviation]), rtol=1e-4, atol=1e-4)
    uniform = heads.mean_over_time(FRAMES, LENGTHS)
    assert (found[0, :6] - uniform[0]).abs().max() > 0.05


def test_a_clip_of_equal_frames_has_a_finite_gradient() -> None:
    frames = torch.ones(2, 5, 6, requires_grad=True)
    layer = heads.AttentiveStatistics(6)
    layer(frames, torch.tensor([5, 1])).sum().backward()
    assert all(
        p.grad is not None and p.grad.isfinite().all() for p in (frames, layer.hidden.weight)
    )


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


def test_a_card_runs_the_directions_as_the_lstm(card: torch.device) -> None:
    """In 16 bits, where cuDNN may keep the weights on the chip: 256 wide, on 64 clips."""
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(768, 256, batch_first=True, bidirectional=True).to(card)
    lengths = torch.randint(30, 400, (64,))
    frames = torch.randn(64, int(lengths.max()), 768, device=card)
    with torch.autocast("cuda", torch.bfloat16):
        found = heads.run_lstm(lstm, frames, lengths).float()
        packed = torch.nn.utils.rnn.pack_padded_sequence(frames, lengths, True, False)
        expected, _ = torch.nn.utils.rnn.pad_packed_sequence(lstm(packed)[0], True)
    torch.testing.assert_close(found, expected.float(), rtol=2e-2, atol=2e-2)
