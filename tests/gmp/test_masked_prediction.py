"""Masked prediction: the loss is that of the masked frames, and those are truly hidden."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn import functional

from pipeline.encoders import encoder as encoders
from pipeline.encoders import forward, layout
from pipeline.gmp.masked_prediction import MaskedPrediction
from pipeline.ground.errors import PipelineError
from pipeline.splits.task import Example
from pipeline.training import loop
from pipeline.training.masking import Spans
from pipeline.training.waves import Batch
from tests.speech import small_encoder, tone_clips
from tests.training.test_fit import SETTINGS, fit_of

SCALES = [3, 5]


def units_of(found: list[Example]) -> dict[str, npt.NDArray[np.int16]]:
    rng = np.random.default_rng(0)
    units = {}
    for example in found:
        frames = layout.frame_count(round(example.clip.duration_s * 16000))
        units[example.clip.clip] = np.stack([rng.integers(0, k, frames) for k in SCALES]).astype(
            "i2"
        )
    return units


@pytest.fixture(params=["hubert", "wavlm", "data2vec-audio"])
def base(project: Path, request: pytest.FixtureRequest) -> Path:
    return small_encoder(project / "encoder", model_type=request.param)


@pytest.fixture
def found(project: Path) -> list[Example]:
    return tone_clips(6)


@pytest.fixture
def model(base: Path, found: list[Example]) -> MaskedPrediction:
    torch.manual_seed(0)
    encoder = encoders.load(base)
    return MaskedPrediction(encoder, SCALES, units_of(found).__getitem__, Spans(0.5, 4), 3).eval()


def test_the_loss_is_cross_entropy_on_masked_frames_written_out(
    model: MaskedPrediction, found: list[Example]
) -> None:
    units = units_of(found)
    expected, masked = torch.zeros(()), 0
    for batch in fit_of(model, budget_s=1e-6).batches(found):
        clip = batch.examples[0].clip.clip
        mask = torch.from_numpy(model._mask(clip, units[clip].shape[1], 0))
        frames = forward.hidden(model.encoder, batch.waves, ["last"], [mask])[0]["last"][0]
        for scale, project in enumerate(model.projections):
            targets = torch.from_numpy(units[clip][scale].astype(np.int64))
            losses = functional.cross_entropy(project(frames), targets, reduction="none")
            expected = expected + losses[mask].sum()
        masked += int(mask.sum())
    together, count = model.loss(next(fit_of(model, budget_s=1e6).batches(found)))
    assert count == masked
    torch.testing.assert_close(together, expected, rtol=1e-5, atol=1e-4)


def test_masked_inputs_really_change(model: MaskedPrediction, found: list[Example]) -> None:
    batch = next(fit_of(model, budget_s=1e6).batches(found[:1]))
    frames = layout.frame_count(len(batch.waves[0]))
    hidden = [
        forward.hidden(model.encoder, batch.waves, ["last"], masks)[0]["last"]
        for masks in (
            None,
            [torch.zeros(frames, dtype=torch.bool)],
            [torch.ones(frames, dtype=torch.bool)],
        )
    ]
    torch.testing.assert_close(hidden[0], hidden[1])
    assert (hidden[0] - hidden[2]).abs().mean() > 0.1
    # All frames hidden: what was said no longer matters.
    other = [torch.randn_like(batch.waves[0])]
    masks = [torch.ones(frames, dtype=torch.bool)]
    torch.testing.assert_close(
        forward.hidden(model.encoder, other, ["last"], masks)[0]["last"], hidden[2]
    )


def test_the_mask_embedding_and_everything_after_it_gets_a_gradient(
    model: MaskedPrediction, found: list[Example]
) -> None:
    loss, _ = model.loss(next(fit_of(model, budget_s=1e6).batches(found)))
    loss.backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # A key's bias shifts every score of a query alike, and softmax ignores that.
    assert [n for n in without if "k_proj.bias" not in n] == []


def test_epochs_draw_other_masks_and_the_same_epoch_the_same(model: MaskedPrediction) -> None:
    masks = [model._mask("a", 200, epoch).tobytes() for epoch in (1, 1, 2)]
    assert masks[0] == masks[1] != masks[2]
    assert model._mask("b", 200, 1).tobytes() != masks[0]


def test_units_of_another_encoder_are_refused(
    model: MaskedPrediction, found: list[Example]
) -> None:
    example = found[0]
    wave = torch.zeros(round(example.clip.duration_s * 16000) + 640)
    with pytest.raises(PipelineError, match=r"units for \d+ frames, run `dvc repro cluster`"):
        model.loss(Batch([example], [wave], 0))


def test_units_stay_aligned_under_every_clip_length(model: MaskedPrediction) -> None:
    """What is counted as frames is what the convolutions make, for each length to a sample."""
    for samples in range(400, 1400):
        (front,) = forward.front_ends(model.encoder, [torch.zeros(samples)])
        frames = layout.frame_count(samples)
        assert len(front) == frames
        units = np.zeros((2, frames), np.int16)
        model._units_of = {"clip": units}.__getitem__
        assert model._aligned("clip", front).shape[1] == len(model._mask("clip", frames, 1))


def test_units_that_follow_the_audio_are_learnt(base: Path) -> None:
    """One unit for low tones, another for high ones: hidden frames are told by their context."""
    torch.manual_seed(0)
    found = tone_clips(24)
    units = {name: np.zeros_like(u) for name, u in units_of(found).items()}
    for example in found:
        units[example.clip.clip] += example.label
    model = MaskedPrediction(encoders.load(base), SCALES, units.__getitem__, Spans(0.5, 4), 3)
    fit = fit_of(model, SETTINGS.model_copy(update={"epochs": 20, "learning_rate": 5e-3}))
    before = fit.mean_loss(model, found)
    loop.train(fit, model, found, [])
    assert fit.mean_loss(model, found) < 0.3 * before
