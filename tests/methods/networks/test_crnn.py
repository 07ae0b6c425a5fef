"""The convolutional-recurrent network: blind to padding, normalised as torch does, learning."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from pipeline.embeddings.frames import Scale
from pipeline.methods.networks.crnn import Crnn, Design, load, save
from pipeline.methods.networks.spectrograms import Batch

DESIGN = Design(classes=["angry", "sad"], bands=9, channels=[4, 6], gru_width=5, dropout=0.0)


def network() -> Crnn:
    torch.manual_seed(0)
    model = Crnn(DESIGN)
    model.train()
    model(torch.randn(8, 30, 9) * 3 + 1, torch.full((8,), 30))  # statistics that are not 0 and 1
    return model.eval()


def clips(*lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(length, 9, generator=generator) for length in lengths]


def test_a_clip_is_classified_alike_alone_and_in_any_batch() -> None:
    model, frames = network(), clips(1, 2, 3, 10, 25)
    alone = torch.cat([model(f[None], torch.tensor([len(f)])) for f in frames])
    assert alone.std(0).min() > 1e-3  # the clips differ, so the comparison means something
    lengths = torch.tensor([len(f) for f in frames])
    for extra in (0, 7):
        batch = nn.functional.pad(pad_sequence(frames, batch_first=True), (0, 0, 0, extra))
        torch.testing.assert_close(model(batch, lengths), alone, rtol=0, atol=1e-5)


def test_in_training_too_padding_changes_nothing() -> None:
    batch, lengths = pad_sequence(clips(4, 6, 10), batch_first=True), torch.tensor([4, 6, 10])
    wide = nn.functional.pad(batch, (0, 0, 0, 9))
    results = []
    for frames in (batch, wide):
        model = network().train()
        logits = model(frames, lengths)
        logits.square().sum().backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        statistics = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        results.append([logits.detach(), *gradients, *statistics])
    assert len(results[0]) > 10
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_statistics_are_those_of_the_valid_frames() -> None:
    """The first norm against the moments of each clip's own convolution, joined."""
    model, frames = network().train(), clips(4, 6, 10)
    norm, convolution = model.norms[0], model.convolutions[0]
    assert isinstance(norm, nn.BatchNorm1d)
    norm.momentum = 1.0
    model(pad_sequence(frames, batch_first=True), torch.tensor([4, 6, 10]))
    alone = torch.cat([convolution(clip[None, None])[0].flatten(1) for clip in frames], 1)
    torch.testing.assert_close(norm.running_mean, alone.mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, alone.var(1), rtol=1e-4, atol=1e-5)


def test_gradients_are_finite_differences() -> None:
    """Of the largest entry of every weight, in training mode."""
    model, lengths = network().train(), torch.tensor([30, 21, 9])
    frames = pad_sequence(clips(30, 21, 9), batch_first=True)
    targets = torch.eye(2)[[0, 1, 0]]

    def loss() -> Tensor:
        log_probabilities: Tensor = model(frames, lengths).double().log_softmax(1)
        return -(targets * log_probabilities).sum()

    loss().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        place, step = int(parameter.grad.abs().argmax()), 1e-3
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.view(-1)[place] += sign * step
                values.append(float(loss()))
                parameter.view(-1)[place] -= sign * step
        expected = (values[0] - values[1]) / (2 * step)
        assert float(parameter.grad.view(-1)[place]) == pytest.approx(
            expected, rel=0.05, abs=1e-4
        ), name


def test_the_loss_is_cross_entropy_and_takes_mixtures() -> None:
    model, frames = network(), clips(8, 8)
    lengths = torch.tensor([8, 8])
    batch = Batch([], torch.stack(frames), lengths, torch.eye(2))
    logits = model.logits(batch)
    expected = nn.functional.cross_entropy(logits, torch.tensor([0, 1]), reduction="sum")
    torch.testing.assert_close(model.loss(batch)[0], expected)
    # A mixture's loss is the mixture of the losses.
    parts = [
        model.loss(Batch([], torch.stack(frames), lengths, target.repeat(2, 1)))[0]
        for target in torch.eye(2)
    ]
    blend = Batch([], torch.stack(frames), lengths, torch.tensor([[0.7, 0.3]]).repeat(2, 1))
    torch.testing.assert_close(model.loss(blend)[0], 0.7 * parts[0] + 0.3 * parts[1])


def test_what_is_saved_predicts_the_same(tmp_path: object) -> None:
    model, scale = network(), Scale(torch.arange(9.0), torch.full((9,), 2.0))
    save(model, scale, tmp_path)  # type: ignore[arg-type]
    again, kept = load(tmp_path)  # type: ignore[arg-type]
    frames, lengths = clips(12)[0][None], torch.tensor([12])
    assert torch.equal(again(frames, lengths), model(frames, lengths))
    assert torch.equal(kept.mean, scale.mean)
    assert torch.equal(kept.deviation, scale.deviation)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_the_shortest_clips_pass(length: int) -> None:
    logits = network()(clips(length)[0][None], torch.tensor([length]))
    assert np.isfinite(logits.detach().numpy()).all()
