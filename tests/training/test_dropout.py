"""Dropout per clip: the rate of torch's, and the same draws however clips are put together."""

import pytest
import torch
from torch import nn

from pipeline.encoders import encoder as encoders
from pipeline.encoders import forward, packed
from pipeline.encoders.packing import Packing
from pipeline.methods import lora
from pipeline.methods.finetuning import LoraParams
from pipeline.training.dropout import ClipDropout, Draws, drop, install
from tests.speech import SMALL

CPU = torch.device("cpu")
CLIPS = ["a", "b", "c"]
ONES = torch.ones(3, 200, 64)


def dropped(clips: list[str], frames: int = 200, epoch: int = 1, place: int = 0) -> torch.Tensor:
    draws = Draws()
    draws.begin(7, epoch, clips, CPU)
    values: torch.Tensor = ClipDropout(0.2, place, draws).train()(
        torch.ones(len(clips), frames, 64)
    )
    return values == 0


def test_values_are_dropped_at_the_rate_and_scaled_up() -> None:
    draws = Draws()
    draws.begin(7, 1, CLIPS, CPU)
    values = ClipDropout(0.2, 0, draws).train()(ONES)
    assert set(values.unique().tolist()) == {0.0, 1.25}
    deviation = (0.16 / ONES.numel()) ** 0.5
    assert (values == 0).float().mean().item() == pytest.approx(0.2, abs=4 * deviation)


def test_a_clip_has_the_same_draws_in_any_batch_and_under_any_padding() -> None:
    together = dropped(CLIPS)
    assert torch.equal(dropped(["c", "a"]), together[[2, 0]])
    assert torch.equal(dropped(["b"], frames=50), together[1:2, :50])


def test_clips_epochs_and_places_draw_independently() -> None:
    masks = [dropped(CLIPS, epoch=e, place=p).float() - 0.2 for e in (1, 2) for p in (0, 1)]
    flat = torch.stack([clip.flatten() for mask in masks for clip in mask]) / 0.4
    correlations = flat @ flat.T / flat.shape[1] ** 0.5  # standard normal off the diagonal
    assert correlations.fill_diagonal_(0).abs().max() < 4.5
    for shift in (1, 2, 16):
        for mask in masks:
            frames = (mask[:, shift:] * mask[:, :-shift]).mean() / 0.16
            features = (mask[..., shift:] * mask[..., :-shift]).mean() / 0.16
            assert max(abs(frames), abs(features)) * (3 * 200 * 64) ** 0.5 < 4.5


def test_outside_training_and_at_zero_nothing_changes() -> None:
    draws = Draws()
    assert ClipDropout(0.5, 0, draws).eval()(ONES) is ONES
    assert ClipDropout(0.0, 0, draws).train()(ONES) is ONES


@pytest.mark.parametrize("kind", ["hubert", "wavlm", "data2vec-audio"])
def test_all_dropout_of_an_encoder_follows_the_draws(kind: str) -> None:
    model = encoders.initialize({**SMALL, "model_type": kind}, 0).train()
    draws = Draws()
    install(model, draws)
    assert not [m for m in model.modules() if isinstance(m, nn.Dropout)]
    waves = [torch.randn(4000), torch.randn(6000)]
    frames: list[torch.Tensor] = []
    for clips, found in ((["a", "b"], waves), (["a"], waves[:1]), (["z"], waves[:1])):
        draws.begin(1, 1, clips, CPU)
        torch.manual_seed(len(frames))  # nothing else is drawn
        frames.append(forward.hidden(model, found, ["last"])[0]["last"][0, :12])
    torch.testing.assert_close(frames[0], frames[1])
    assert (frames[1] - frames[2]).abs().mean() > 0.01


def test_rows_that_are_no_clips_are_refused() -> None:
    draws = Draws()
    draws.begin(7, 1, CLIPS, CPU)
    with pytest.raises(ValueError, match="dropout is drawn per clip"):
        ClipDropout(0.5, 0, draws).train()(ONES[:2])


def test_packed_frames_drop_what_padded_ones_drop() -> None:
    frames, draws = [200, 7, 60], Draws()
    module = ClipDropout(0.2, 3, draws).train()
    draws.begin(7, 1, CLIPS, CPU)
    padded = module(ONES)
    draws.pack(Packing(frames, CPU))
    found = module(torch.ones(1, sum(frames), 64))[0].split(frames)
    for clip, own in enumerate(found):
        assert torch.equal(own, padded[clip, : frames[clip]])
    assert torch.equal(module(ONES), padded)  # a head's, after the encoder packed


@pytest.mark.parametrize("adapters", [False, True])
def test_an_encoder_drops_the_same_packed_and_padded(adapters: bool) -> None:
    model = encoders.initialize({**SMALL, "activation_dropout": 0.2, "feat_proj_dropout": 0.1}, 0)
    if adapters:
        lora.adapt(model, lora.QKV, LoraParams(rank=2, alpha=4.0, dropout=0.3))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                nn.init.normal_(parameter)
    draws = Draws()
    install(model.train(), draws)
    waves = [torch.randn(4000), torch.randn(400), torch.randn(6000)]
    draws.begin(1, 1, CLIPS, CPU)
    padded, lengths = forward.hidden(model, waves, ["last"])
    states, packing = packed.hidden(model, waves, ["last"])
    rows = zip(states["last"].split(packing.rows), padded["last"], lengths, strict=True)
    for own, frames, length in rows:
        torch.testing.assert_close(own, frames[:length], atol=1e-5, rtol=1e-4)


def test_a_model_follows_the_draws_that_were_installed_last() -> None:
    model, first, second = encoders.initialize(SMALL, 0).train(), Draws(), Draws()
    install(model, first)
    clip = [torch.randn(4000)]
    first.begin(1, 1, ["a"], CPU)
    before, _ = forward.hidden(model, clip, ["last"])
    install(model, second)
    first.begin(9, 9, ["other", "clips"], CPU)  # no longer heard
    second.begin(1, 1, ["a"], CPU)
    after, _ = forward.hidden(model, clip, ["last"])
    assert torch.equal(before["last"], after["last"])
    assert model.draws is second


def test_one_graph_serves_all_shapes() -> None:
    """What a GPU compiles, traced here: nothing breaks the graph, no shape needs another."""
    graphs: list[object] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(drop, dynamic=True, fullgraph=True, backend=backend)
    for frames, features in ((5, 16), (7, 16), (300, 16), (31, 64)):
        values = torch.randn(1, frames, features)
        rows = torch.randint(-(2**31), 2**31 - 1, (frames,), dtype=torch.int32)
        assert torch.equal(compiled(values, rows, 0.1), drop(values, rows, 0.1))
    assert len(graphs) == 1
