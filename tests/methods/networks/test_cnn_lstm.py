"""The two networks of emotion share: against the published layout, by hand, and under padding."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence

from pipeline.methods.finetuning import Network
from pipeline.methods.networks.cnn_lstm import CnnLstm, CnnLstmAttention, Trunk
from pipeline.methods.networks.regressor import Design, Regressor

HEADS: tuple[Network, ...] = ("cnn-lstm", "cnn-lstm-attention")
SMALL = Design(
    head="cnn-lstm",
    classes=["anger", "interest"],
    means=[0.0, 0.0],
    deviations=[1.0, 1.0],
    joint=True,
    loss="mse",
    width=5,
    conv=[7, 6],
    lstm_width=8,
    feed_forward=[6, 4],
    attention_scale="sqrt",
    output="sigmoid",
)
PUBLISHED = SMALL.model_copy(update={"width": 1024, "conv": [768, 384, 192], "lstm_width": 512})


def regressor(head: Network, seed: int = 0) -> Regressor:
    torch.manual_seed(seed)
    model = Regressor(SMALL.model_copy(update={"head": head}), [0, 1])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)  # untrained, its outputs hardly differ between clips
    return model


def clips(*lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(length, 5, generator=generator) for length in lengths]


@pytest.mark.parametrize("head", HEADS)
def test_a_clip_is_predicted_alike_alone_and_in_any_batch(head: Network) -> None:
    model, waves = regressor(head), clips(1, 2, 3, 9, 24)
    alone = torch.cat([model(w[None], torch.tensor([len(w)])) for w in waves])
    assert alone.std(0).min() > 1e-3  # the clips differ, so the comparison means something
    lengths = torch.tensor([len(w) for w in waves])
    for padding in (0.0, 1e3, torch.nan):
        batch = pad_sequence(waves, batch_first=True, padding_value=padding)
        order = torch.randperm(len(waves), generator=torch.Generator().manual_seed(2))
        together = torch.empty_like(alone)
        together[order] = model(batch[order], lengths[order])
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_padding_gets_no_gradient_and_every_frame_does(head: Network) -> None:
    batch = pad_sequence(clips(4, 6, 10), batch_first=True).requires_grad_()
    regressor(head)(batch, torch.tensor([4, 6, 10])).sum().backward()
    assert batch.grad is not None
    for row, length in enumerate((4, 6, 10)):
        touched = batch.grad[row].abs().sum(1) > 0
        assert touched.tolist() == [i < length for i in range(10)]


def test_the_trunk_is_the_published_stack() -> None:
    """Three convolutions, pooling and a two-layer LSTM, as one would write them for one clip."""
    torch.manual_seed(3)
    trunk = Trunk(5, [7, 6, 4], 8, normalize=False)
    stack = nn.Sequential(
        *(layer for conv in trunk.conv for layer in (conv, nn.ReLU())), nn.MaxPool1d(2, 2)
    )
    lstm = nn.LSTM(4, 8, 2, batch_first=True)
    state = {f"{k[:-1]}0": v for k, v in trunk.lower.state_dict().items()}
    state |= {f"{k[:-1]}1": v for k, v in trunk.upper.state_dict().items()}
    lstm.load_state_dict(state)
    for length in (2, 9, 20):
        (clip,) = clips(length)
        expected, (final, _) = lstm(stack(clip.T[None]).transpose(1, 2))
        states, ends, lengths = trunk(clip[None], torch.tensor([length]))
        assert lengths.item() == length // 2 == expected.shape[1]
        torch.testing.assert_close(states[:, : length // 2], expected)
        torch.testing.assert_close(ends, final.transpose(0, 1).flatten(1))


def test_architecture_1_is_the_mean_over_valid_states() -> None:
    torch.manual_seed(4)
    head = CnnLstm(5, [7], 8)
    batch, lengths = pad_sequence(clips(6, 11), batch_first=True), torch.tensor([6, 11])
    states, _, halved = head.trunk(batch, lengths)
    by_hand = [states[i, :n].detach().numpy().mean(0) for i, n in enumerate(halved.tolist())]
    np.testing.assert_allclose(head(batch, lengths).detach().numpy(), by_hand, atol=1e-7)


@pytest.mark.parametrize(("scale", "divisor"), [("sqrt", 8**0.5), ("width", 8.0)])
def test_architecture_2_is_scaled_dot_product_attention(scale: str, divisor: float) -> None:
    torch.manual_seed(5)
    head = CnnLstmAttention(5, [7], 8, scale)  # type: ignore[arg-type]
    batch, lengths = pad_sequence(clips(6, 11), batch_first=True), torch.tensor([6, 11])
    states, final, halved = head.trunk(batch, lengths)
    query = final @ head.query.weight.T + head.query.bias
    mask = torch.arange(states.shape[1])[None] < halved[:, None]
    expected = scaled_dot_product_attention(
        query[:, None], states, states, attn_mask=mask[:, None], scale=1 / divisor
    )
    torch.testing.assert_close(head(batch, lengths), expected[:, 0])


@pytest.mark.parametrize(
    ("head", "feed_forward"), [("cnn-lstm", [256, 64, 8]), ("cnn-lstm-attention", [256, 128, 64])]
)
def test_the_published_widths_give_the_published_parameters(
    head: Network, feed_forward: list[int]
) -> None:
    design = PUBLISHED.model_copy(update={"head": head, "feed_forward": feed_forward})
    shapes = {n: tuple(p.shape) for n, p in Regressor(design, [0]).named_parameters()}
    trunk = {
        "conv.0.weight": (768, 1024, 3),
        "conv.1.weight": (384, 768, 3),
        "conv.2.weight": (192, 384, 3),
        "lower.weight_ih_l0": (4 * 512, 192),
        "lower.weight_hh_l0": (4 * 512, 512),
        "upper.weight_ih_l0": (4 * 512, 512),
        "upper.weight_hh_l0": (4 * 512, 512),
    }
    assert {f"head.trunk.{name}" for name in trunk} <= shapes.keys()
    assert all(shapes[f"head.trunk.{name}"] == shape for name, shape in trunk.items())
    assert shapes.get("head.query.weight") == ((512, 1024) if "attention" in head else None)
    linear = [s for n, s in shapes.items() if n.startswith(("feed", "output")) and len(s) == 2]
    assert linear == list(zip([*feed_forward, 1], [512, *feed_forward], strict=True))


@pytest.mark.parametrize("output", ["sigmoid", "relu"])
def test_training_starts_at_the_given_shares(output: str) -> None:
    model = Regressor(SMALL.model_copy(update={"output": output}), [0, 1])
    model.start_at(torch.tensor([0.1, 0.6]))
    with torch.no_grad():
        model.output.weight.zero_()
    predicted = model(clips(9)[0][None], torch.tensor([9]))
    torch.testing.assert_close(predicted, torch.tensor([[0.1, 0.6]]))


def test_a_linear_output_starts_at_the_means_in_the_range_of_the_ratings() -> None:
    scale = {"means": [4.0, 300.0], "deviations": [1.5, 20.0], "output": "linear"}
    model = Regressor(SMALL.model_copy(update=scale), [1])
    model.start_at(torch.tensor([300.0]))
    with torch.no_grad():
        model.output.weight.zero_()
        frames, lengths = clips(9)[0][None], torch.tensor([9])
        assert model(frames, lengths).tolist() == [[300.0]]
        model.output.bias.fill_(0.5)
        assert model(frames, lengths).tolist() == [[310.0]]
