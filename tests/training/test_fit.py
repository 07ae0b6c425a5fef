"""The loop: exact under micro-batches, identical after a kill, honest about what diverges."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.encoders import encoder as encoders
from pipeline.encoders import forward
from pipeline.gmp.multitask import Multitask
from pipeline.ground.errors import PipelineError
from pipeline.methods.adaptation import logits, score
from pipeline.methods.classifier import Classifier
from pipeline.methods.emotion_head import Design
from pipeline.methods.finetuning import LossParams, ModelParams
from pipeline.splits.task import Example, of_role
from pipeline.training import loop
from pipeline.training.fit import Fit
from pipeline.training.settings import Training
from pipeline.training.waves import Waves
from tests.speech import small_encoder

SETTINGS = Training(
    epochs=3, batch=6, learning_rate=1e-3, patience=0, freeze_conv=True, precision="fp32"
)
MODEL = ModelParams(
    head="pool", layer="last", projection=8, lstm_width=8, batch_norm=False, dropout=0.0
)
DESIGN = Design(
    method="full",
    target="emotion",
    classes=["angry", "sad"],
    encoder="encoder",
    encoder_sha256="",
    width=16,
    blocks=2,
    model=MODEL,
    loss=LossParams(name="am-softmax", scale=10.0, margin=0.2),
)


class KilledError(Exception):
    """Stands for a SIGKILL at a point of our choice."""


def fit_of(
    model: Any, settings: Training = SETTINGS, folder: str = "scratch", budget_s: float = 2.0
) -> Fit:
    path = Path(folder)
    path.mkdir(exist_ok=True)
    return Fit(settings, 5, torch.device("cpu"), budget_s, path, Waves(model.encoder))


def classifier(base: Path) -> Classifier:
    torch.manual_seed(0)
    return Classifier(encoders.load(base, freeze_conv=True), DESIGN)


def without_dropout(model: torch.nn.Module) -> None:
    """The peer of the test below knows nothing of our draws."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "dropout", None), float):
            setattr(module, "dropout", 0.0)  # noqa: B010


def train(fit: Fit, model: Any, found: list[Example]) -> list[dict[str, float]]:
    return loop.train(
        fit,
        model,
        of_role(found, "train"),
        of_role(found, "dev"),
        lambda: score(fit, model, of_role(found, "dev"), "emotion"),
    )


def test_an_easy_task_is_learnt(found: list[Example], base: Path) -> None:
    model = classifier(base)
    fit = fit_of(model, SETTINGS.model_copy(update={"epochs": 20, "learning_rate": 3e-3}))
    history = train(fit, model, found)
    test = of_role(found, "test")
    predicted = logits(fit, model, test).argmax(1).tolist()
    assert predicted == [example.label for example in test]
    assert history[-1]["train_loss"] < 0.5 * history[0]["train_loss"]


def test_the_front_end_is_frozen_and_the_rest_trains(found: list[Example], base: Path) -> None:
    model = classifier(base)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(fit_of(model), model, found)
    moved = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    assert not any("feature_extractor" in name for name in moved)
    unmoved = set(before) - moved
    assert {n for n in unmoved if "feature_extractor" not in n} == {"encoder.masked_spec_embed"}


def test_a_batch_does_not_depend_on_how_it_is_cut(found: list[Example], base: Path) -> None:
    finals = []
    for budget_s in (0.1, 1.0, 100.0):
        model = classifier(base)
        history = train(fit_of(model, folder=f"cut-{budget_s}", budget_s=budget_s), model, found)
        finals.append([row["train_loss"] for row in history])
    assert finals[0] == pytest.approx(finals[1], rel=1e-4)
    assert finals[0] == pytest.approx(finals[2], rel=1e-4)


def test_padding_counts_but_for_packed_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Plain:
        batches = Waves.batches

    def fit(source: Any) -> Fit:
        return Fit(SETTINGS, 5, torch.device("cpu"), 4.0, tmp_path, source)

    monkeypatch.setattr(forward, "packs", lambda encoder: encoder == "on a GPU")
    made = [fit(source) for source in (Waves("on a GPU"), Waves("on a CPU"), Plain())]
    assert [one.passed_s([2.0, 1.0, 1.0]) for one in made] == [4.0, 6.0, 6.0]
    assert [one.cut([0, 1, 2], [1.0, 2.0, 1.0]) for one in made[1:]] == [[[1, 0], [2]]] * 2
    assert made[0].cut([0, 1, 2], [1.0, 2.0, 1.0]) == [[1, 0, 2]]


def test_the_gradient_is_that_of_the_mean_loss(found: list[Example], base: Path) -> None:
    """One step of plain Adam on the whole batch's mean loss, computed clip by clip."""
    members = of_role(found, "train")[:6]
    ours, theirs = classifier(base), classifier(base)
    fit = fit_of(ours, SETTINGS.model_copy(update={"epochs": 1}))
    for model in (ours, theirs):
        without_dropout(model)
    loop.train(fit, ours, members, [])

    optimizer = torch.optim.Adam([p for p in theirs.parameters() if p.requires_grad], 1e-3)
    theirs.train()
    single = fit_of(theirs, budget_s=1e-6)
    total = torch.zeros(())
    for batch in single.batches(members):
        total = total + theirs.loss(batch)[0]
    (total / len(members)).backward()
    optimizer.step()
    for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        # A key's bias moves no attention: its gradient is rounding, whose sign Adam follows.
        if not name.endswith("k_proj.bias"):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-6, msg=name)


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_killed_run_resumes_to_the_same_bytes(
    found: list[Example], base: Path, epoch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = classifier(base)
    expected = train(fit_of(whole, folder="whole"), whole, found)

    def die(*_: object) -> None:
        raise KilledError

    first = classifier(base)
    with monkeypatch.context() as patch:
        calls = iter(range(10))
        patch.setattr(
            "pipeline.training.loop._line", lambda *_: die() if next(calls) == epoch else ""
        )
        with pytest.raises(KilledError):
            train(fit_of(first, folder="cut"), first, found)
    second = classifier(base)
    assert train(fit_of(second, folder="cut"), second, found) == expected
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_the_best_dev_epoch_is_kept_and_patience_stops(found: list[Example], base: Path) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 9, "patience": 2})
    scripted = iter([0.5, 0.7, 0.6, 0.7, 0.9])
    model = classifier(base)
    fit = fit_of(model, settings)
    states = []

    def dev_score() -> dict[str, float]:
        states.append({n: v.clone() for n, v in model.state_dict().items()})
        return {"dev_uar": next(scripted), "dev_loss": 1.0}

    history = loop.train(fit, model, of_role(found, "train"), of_role(found, "dev"), dev_score)
    assert [row["dev_uar"] for row in history] == [0.5, 0.7, 0.6, 0.7]
    for name, value in model.state_dict().items():
        assert torch.equal(value, states[1][name])


def test_a_frozen_front_end_is_passed_once_with_the_same_result(
    found: list[Example], base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, anew = classifier(base), classifier(base)
    fit = fit_of(kept, folder="kept")
    history = train(fit, kept, found)
    assert isinstance(fit.source, Waves)
    assert set(fit.source.fronts) == {e.clip.clip for e in found if e.role != "test"}
    monkeypatch.setattr("pipeline.training.waves.FRONT_END_BYTES", 0)
    assert train(fit_of(anew, folder="anew"), anew, found) == history
    for name, value in kept.state_dict().items():
        assert torch.equal(value, anew.state_dict()[name])


def test_a_front_end_that_trains_is_never_kept(found: list[Example], base: Path) -> None:
    torch.manual_seed(0)
    model = Classifier(encoders.load(base), DESIGN)
    before = [p.clone() for p in model.encoder.feature_extractor.parameters()]
    fit = fit_of(model)
    train(fit, model, found)
    after = list(model.encoder.feature_extractor.parameters())
    assert isinstance(fit.source, Waves)
    assert not fit.source.fronts
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_without_dev_patience_has_nothing_to_wait_for(found: list[Example], base: Path) -> None:
    model = classifier(base)
    fit = fit_of(model, SETTINGS.model_copy(update={"patience": 1}))
    history = loop.train(fit, model, of_role(found, "train"), [])
    assert [row["epoch"] for row in history] == [1, 2, 3]


def test_no_epochs_leave_the_encoder_unchanged(found: list[Example], base: Path) -> None:
    encoder = encoders.load(base)
    model = Multitask(encoder, 2, 4, 0.9)
    fit = fit_of(model, SETTINGS.model_copy(update={"epochs": 0}))
    history = loop.train(fit, model, of_role(found, "train"), of_role(found, "dev"))
    assert history == []
    for name, value in encoders.load(base).state_dict().items():
        assert torch.equal(value, model.encoder.state_dict()[name])


def test_a_loss_that_is_not_finite_names_step_and_clips(found: list[Example], base: Path) -> None:
    model = classifier(base)
    with torch.no_grad():
        next(model.head.classifier.parameters())[0, 0] = float("nan")
    with pytest.raises(PipelineError, match=r"epoch 1, step 1: the loss is nan \(clips tones/"):
        train(fit_of(model), model, found)
    assert not Path("scratch/last.safetensors").exists()


@pytest.mark.parametrize("kind", ["hubert", "wavlm", "data2vec-audio"])
def test_multitask_learns_emotion_and_gender_together(
    found: list[Example], project: Path, kind: str
) -> None:
    torch.manual_seed(0)
    base = small_encoder(project / kind, model_type=kind)
    model = Multitask(encoders.load(base), 2, 4, 0.9)
    fit = fit_of(model, SETTINGS.model_copy(update={"epochs": 20, "learning_rate": 5e-3}))
    train_set, dev = of_role(found, "train"), of_role(found, "dev")
    before = fit.mean_loss(model, dev)
    loop.train(fit, model, train_set, dev)
    assert fit.mean_loss(model, dev) < 0.6 * before


@pytest.mark.parametrize("kind", ["hubert", "wavlm", "data2vec-audio"])
def test_a_batch_loss_is_the_sum_of_its_members(
    found: list[Example], project: Path, kind: str
) -> None:
    """Padding contributes nothing, to emotion or to gender."""
    base = small_encoder(project / kind, model_type=kind)
    model = Multitask(encoders.load(base), 2, 4, 0.9).eval()
    together, count = model.loss(next(fit_of(model, budget_s=100.0).batches(found[:8])))
    alone = [model.loss(batch)[0] for batch in fit_of(model, budget_s=1e-6).batches(found[:8])]
    assert count == len(alone) == 8
    torch.testing.assert_close(together, torch.stack(alone).sum(), rtol=1e-5, atol=1e-5)
