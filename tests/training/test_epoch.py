"""Within an epoch: kills at any step, memory that runs out, progress."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.ground.errors import PipelineError
from pipeline.methods.classifier import Classifier
from pipeline.splits.task import Example, of_role
from pipeline.training import checkpoint, loop
from pipeline.training.epoch import Epoch
from pipeline.training.waves import Batch
from pipeline.work.processes import Processes
from tests.speech import small_encoder
from tests.training.test_fit import KilledError, classifier, fit_of, train


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("step", [1, 4, 8])
def test_a_run_killed_at_a_step_resumes_to_the_same_bytes(
    found: list[Example], base: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.training.epoch.CHECKPOINT_EVERY_S", 0.0)
    whole = classifier(base)
    expected = train(fit_of(whole, folder="whole"), whole, found)
    take, taken = Epoch._step, iter(range(100))

    def die(*args: Any) -> Tensor:
        if next(taken) == step:
            raise KilledError
        return take(*args)

    first, second = classifier(base), classifier(base)
    with monkeypatch.context() as patch:
        patch.setattr(Epoch, "_step", die)
        with pytest.raises(KilledError):
            train(fit_of(first, folder="cut"), first, found)
    steps: list[int] = []

    def count(*args: Any) -> Tensor:
        steps.append(1)
        return take(*args)

    monkeypatch.setattr(Epoch, "_step", count)
    assert train(fit_of(second, folder="cut"), second, found) == expected
    assert len(steps) == 9 - step  # 18 clips in batches of 6, 3 epochs: none is taken twice
    assert all(torch.equal(v, weights(second)[n]) for n, v in weights(whole).items())


class Cramped(Classifier):
    """A classifier on a device that holds so many seconds of padded audio."""

    limit_s: float
    tried: list[int]

    def loss(self, batch: Batch) -> tuple[Tensor, int]:
        self.tried.append(len(batch.examples))
        padded_s = len(batch.examples) * max(e.clip.duration_s for e in batch.examples)
        if self.training and padded_s > self.limit_s:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().loss(batch)


def cramped(base: Path, limit_s: float) -> Cramped:
    model = classifier(base)
    model.__class__ = Cramped
    assert isinstance(model, Cramped)
    model.limit_s, model.tried = limit_s, []
    return model


def test_out_of_memory_halves_micro_batches_and_nothing_else(
    found: list[Example], base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    roomy, model = classifier(base), cramped(base, 1.0)
    expected = train(fit_of(roomy, folder="roomy", budget_s=100.0), roomy, found)
    fit = fit_of(model, folder="cramped", budget_s=100.0)
    history = train(fit, model, found)
    assert model.tried[0] == 6
    assert fit.micro_batch_s <= 1.0
    assert "out of memory: micro-batches of" in capsys.readouterr().err
    for ours, theirs in zip(history, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    for name, value in weights(roomy).items():
        # A key's bias moves no attention: its gradient is rounding, whose sign Adam follows.
        if not name.endswith("k_proj.bias"):
            torch.testing.assert_close(weights(model)[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_a_clip_that_does_not_fit_alone_is_named(found: list[Example], base: Path) -> None:
    model = cramped(base, 0.1)
    with pytest.raises(PipelineError, match=r"^tones/\d+: 0\.\d s do not fit the memory of cpu"):
        train(fit_of(model), model, found)


def test_a_loss_that_is_not_finite_keeps_the_last_checkpoint(
    found: list[Example], base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.training.epoch.CHECKPOINT_EVERY_S", 0.0)
    model = classifier(base)
    calls: list[Batch] = []
    loss = model.loss

    def poisoned(batch: Batch) -> tuple[Tensor, int]:
        calls.append(batch)
        total, items = loss(batch)
        return total * (float("nan") if len(calls) == 5 else 1.0), items

    monkeypatch.setattr(model, "loss", poisoned)
    fit = fit_of(model, budget_s=100.0)
    with pytest.raises(
        PipelineError, match=r"epoch 2, step 2: the loss is nan \(clips tones/"
    ) as e:
        loop.train(fit, model, of_role(found, "train"), [])
    named = str(e.value).split("(clips ")[1].split(", ...")[0].split(", ")
    assert set(named) <= {example.clip.clip for example in calls[4].examples}
    kept = checkpoint.State(model, torch.optim.Adam(model.parameters()))
    trained = [p for p in model.parameters() if p.requires_grad]
    kept.optimizer = torch.optim.Adam(trained)
    kept.restore(fit.folder / checkpoint.LAST)
    assert (len(kept.history), len(kept.steps)) == (1, 1)
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_a_log_shows_progress_within_an_epoch(
    found: list[Example],
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("pipeline.ground.progress.LINE_EVERY_S", 0.0)
    model = classifier(base)
    train(fit_of(model), model, found)
    lines = capsys.readouterr().err.splitlines()
    inside = [line for line in lines if "s of audio/s" in line]
    assert len(inside) == 9
    assert inside[0].startswith("epoch 1/3: step 1/3, loss ")
    assert inside[-1].endswith("0 s left")


def test_nodes_that_resume_from_different_checkpoints_stop(
    found: list[Example], base: Path
) -> None:
    class Second(Processes):
        def from_main(self, compute: Callable[[], Any]) -> Any:
            return 3, 5

    model = classifier(base)
    fit = replace(fit_of(model), processes=Second(1, 2))
    with pytest.raises(PipelineError, match=r"epoch 0, step 0, but the first node has .* 3"):
        train(fit, model, found)


@pytest.mark.parametrize("kind", ["hubert", "wavlm", "data2vec-audio"])
def test_gradient_checkpointing_changes_no_bit(
    found: list[Example], project: Path, kind: str
) -> None:
    base = small_encoder(project / kind, model_type=kind)
    results, counts = [], []
    for recompute in (False, True):
        model = classifier(base)
        model.encoder.recompute = recompute
        passes: list[bool] = []
        block = model.encoder.encoder.layers[0]
        block.attention.register_forward_hook(
            lambda m, *_, passes=passes: passes.append(m.training)
        )
        results.append((train(fit_of(model, folder=str(recompute)), model, found), weights(model)))
        counts.append(sum(passes))
    assert counts[1] == 2 * counts[0] > 0
    assert results[0][0] == results[1][0]
    assert all(torch.equal(v, results[1][1][n]) for n, v in results[0][1].items())
