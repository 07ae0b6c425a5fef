"""Training on packed clips, as a GPU has it: the losses of the CPU, dropout and masks included."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.encoders import encoder as encoders
from pipeline.encoders import forward
from pipeline.gmp.masked_prediction import MaskedPrediction
from pipeline.gmp.multitask import Multitask
from pipeline.methods.classifier import Classifier
from pipeline.methods.finetuning import LoraParams
from pipeline.splits.task import Example, of_role
from pipeline.training import loop
from pipeline.training.masking import Spans
from tests.gmp.test_masked_prediction import SCALES, units_of
from tests.speech import small_encoder, tone_clips
from tests.training.test_fit import DESIGN, MODEL, SETTINGS, fit_of

Build = Callable[[Any, list[Example]], Any]
LARGE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}
LORA = LoraParams(rank=2, alpha=4.0, dropout=0.2)
RECURRENT = MODEL.model_copy(update={"head": "bilstm", "layer": "weighted", "dropout": 0.2})


def adapted(encoder: Any, _: list[Example]) -> Any:
    return Classifier(encoder, DESIGN.model_copy(update={"method": "lora-qkv", "lora": LORA}))


BUILDS: dict[str, Build] = {
    "full": lambda encoder, _: Classifier(encoder, DESIGN.model_copy(update={"model": RECURRENT})),
    "lora-qkv": adapted,
    "multitask": lambda encoder, _: Multitask(encoder, 2, 8, 0.9),
    "masked": lambda encoder, found: MaskedPrediction(
        encoder, SCALES, units_of(found).__getitem__, Spans(0.5, 4), 3
    ),
}
builds = pytest.mark.parametrize("build", BUILDS)


@pytest.fixture
def found(project: Path) -> list[Example]:
    return tone_clips(20)


def trained(
    build: str,
    found: list[Example],
    device: str = "cpu",
    recompute: bool = False,
    freeze: bool = True,
    budget_s: float = 2.0,
    *,
    fuse: bool = False,
    **style: Any,
) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    """Two epochs from the same start: the history, and the weights."""
    folder = Path(f"encoder-{len(list(Path.cwd().glob('encoder-*')))}")
    torch.manual_seed(0)
    model = BUILDS[build](
        encoders.load(small_encoder(folder, **style), freeze, recompute), found
    ).to(device)
    model.encoder.fuse = fuse
    settings = SETTINGS.model_copy(update={"epochs": 2})
    fit = fit_of(model, settings, f"scratch-{folder}", budget_s)
    fit.device = torch.device(device)
    history = loop.train(fit, model, of_role(found, "train"), of_role(found, "dev"))
    return history, {name: value.cpu() for name, value in model.state_dict().items()}


def assert_alike(found: Any, expected: Any, tolerance: float) -> None:
    for row, other in zip(found[0], expected[0], strict=True):
        assert row == pytest.approx(other, rel=tolerance)


@builds
@pytest.mark.parametrize("style", [{}, LARGE], ids=["base", "large"])
@pytest.mark.parametrize("freeze", [True, False])
def test_packed_clips_train_as_padded_ones(
    build: str, style: Any, freeze: bool, found: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = trained(build, found, freeze=freeze, **style)
    monkeypatch.setattr(forward, "packs", lambda _: True)
    assert_alike(trained(build, found, freeze=freeze, **style), expected, 1e-4)


@builds
def test_computing_packed_activations_twice_changes_no_bit(
    build: str, found: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "packs", lambda _: True)
    (history, weights), (same, others) = (trained(build, found, recompute=r) for r in (False, True))
    assert history == same
    assert all(torch.equal(value, others[name]) for name, value in weights.items())


@builds
def test_a_second_training_gives_the_same_bytes(build: str, found: list[Example]) -> None:
    (history, weights), (same, others) = (trained(build, found) for _ in range(2))
    assert history == same
    assert all(torch.equal(value, others[name]) for name, value in weights.items())


@builds
@pytest.mark.parametrize("style", [{}, LARGE], ids=["base", "large"])
@pytest.mark.parametrize("fuse", [False, True])
def test_a_card_trains_as_the_cpu_and_twice_the_same(
    build: str, style: Any, fuse: bool, found: list[Example], card: torch.device
) -> None:
    from pipeline.work.device import select

    select(str(card))
    once, twice = (trained(build, found, str(card), fuse=fuse, **style) for _ in range(2))
    assert once[0] == twice[0]
    assert all(torch.equal(value, twice[1][name]) for name, value in once[1].items())
    assert_alike(once, trained(build, found, **style), 1e-3)


def test_a_card_that_is_full_halves_micro_batches(
    found: list[Example], card: torch.device, capsys: pytest.CaptureFixture[str]
) -> None:
    """With less and less of its memory, until whole batches do not fit."""
    wide: dict[str, Any] = {"hidden_size": 256, "conv_dim": [128] * 7, "budget_s": 100.0}
    torch.cuda.reset_peak_memory_stats()
    expected = trained("full", found, str(card), **wide)
    needed = torch.cuda.max_memory_reserved() / torch.cuda.get_device_properties(card).total_memory
    try:
        for tenths in range(9, 2, -1):
            torch.cuda.empty_cache()
            torch.cuda.set_per_process_memory_fraction(needed * tenths / 10)
            cramped = trained("full", found, str(card), **wide)
            if "out of memory: micro-batches of" in capsys.readouterr().err:
                break
        else:
            pytest.fail("a third of the memory was enough")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert_alike(cramped, expected, 1e-3)
