"""The head: padding never counts, means do where frames are averaged, and what is saved is all."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import batch_norm

from pipeline.ground.errors import PipelineError
from pipeline.methods import emotion_head
from pipeline.methods.emotion_head import Design, EmotionHead
from pipeline.methods.finetuning import LoraParams, LossParams, TrainingLoss
from pipeline.splits.task import Example
from pipeline.training import heads
from tests.speech import tone_clips
from tests.training.test_fit import DESIGN, MODEL

torch.manual_seed(0)
LAYERS = [torch.randn(3, 9, 16) for _ in range(3)]
LENGTHS = torch.tensor([9, 4, 1])
CE = LossParams(name="ce", scale=1.0, margin=0.0)


@pytest.fixture
def found(project: Path) -> list[Example]:
    return tone_clips(10)


def built(method: str = "frozen", **model: Any) -> EmotionHead:
    changes = {"method": method, "model": MODEL.model_copy(update=model), "loss": CE}
    if method == "lora-classifier":
        changes["lora"] = LoraParams(rank=2, alpha=8.0, dropout=0.0)
    torch.manual_seed(1)
    return emotion_head.build(DESIGN.model_copy(update=changes)).eval()


def layers_of(head: EmotionHead) -> list[torch.Tensor]:
    return LAYERS[: len(head.design.layers)]


@pytest.mark.parametrize("kind", ["pool", "bilstm", "attentive", "mean-max"])
@pytest.mark.parametrize("layer", ["last", "weighted"])
def test_padding_never_counts(kind: str, layer: str) -> None:
    head = built(head=kind, layer=layer)
    layers = layers_of(head)
    padding = ~heads.valid(LENGTHS, 9)[..., None]
    clean = head(layers, LENGTHS)
    poisoned = head([frames.masked_fill(padding, 99.0) for frames in layers], LENGTHS)
    torch.testing.assert_close(poisoned, clean)
    for i, n in enumerate(LENGTHS.tolist()):
        alone = head([frames[i : i + 1, :n] for frames in layers], LENGTHS[i : i + 1])
        torch.testing.assert_close(alone[0], clean[i])


@pytest.mark.parametrize("layer", ["last", "weighted"])
def test_the_pool_needs_no_more_than_means(layer: str) -> None:
    head = built(layer=layer, batch_norm=True)
    layers = layers_of(head)
    means = [heads.mean_over_time(frames, LENGTHS) for frames in layers]
    torch.testing.assert_close(head.of_means(means), head(layers, LENGTHS))


def test_the_weights_of_layers_are_learnt_and_sum_to_one() -> None:
    head = built(layer="weighted")
    assert head.design.layers == [-3, -2, -1]
    uniform = torch.stack(LAYERS).mean(0)
    torch.testing.assert_close(head(LAYERS, LENGTHS), built()([uniform], LENGTHS))
    head(LAYERS, LENGTHS).square().sum().backward()
    gradient = head.layer_weights.grad
    assert gradient is not None
    assert gradient.abs().min() > 0
    torch.testing.assert_close(gradient.sum(), torch.zeros(()), atol=1e-6, rtol=0)


def test_batch_norm_is_that_of_the_clips_together_and_of_the_past_for_one() -> None:
    head = built(batch_norm=True).train()
    means = torch.randn(5, 16)
    vectors = head.projector(means)
    expected = head.classifier(batch_norm(vectors, None, None, training=True))
    torch.testing.assert_close(head.of_means([means]), expected)
    single = head.of_means([means[:1]])
    torch.testing.assert_close(single, head.eval().of_means([means[:1]]))


def test_dropout_is_for_training_alone() -> None:
    head = built(dropout=0.5)
    means = [torch.randn(5, 16)]
    assert torch.equal(head.of_means(means), head.of_means(means))
    head.train()
    assert not torch.equal(head.of_means(means), head.of_means(means))


WEIGHTS = np.array([0.5, 2.0])


@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("name", ["ce", "am-softmax"])
def test_weights_and_gamma_are_met_in_training_alone(
    found: list[Example], gamma: float, name: str
) -> None:
    loss = LossParams(name=name, scale=4.0, margin=0.3)  # type: ignore[arg-type]
    torch.manual_seed(1)
    head = emotion_head.build(DESIGN.model_copy(update={"loss": loss}))
    plain = emotion_head.build(DESIGN.model_copy(update={"loss": loss}))
    plain.load_state_dict(head.state_dict())
    head.meet(WEIGHTS, gamma)
    members = found[:7]
    logits = torch.randn(7, 2)
    labels = [example.label for example in members]
    total, count = head.train().loss(logits, members)
    expected = 0.0
    for row, label in zip(logits.tolist(), labels, strict=True):
        row[label] -= 4.0 * 0.3 if name == "am-softmax" else 0.0
        p = math.exp(row[label]) / sum(map(math.exp, row))
        expected -= WEIGHTS[label] * (1 - p) ** gamma * math.log(p)
    assert total.item() == pytest.approx(expected, rel=1e-5)
    assert count == 7
    assert torch.equal(head.eval().loss(logits, members)[0], plain.eval().loss(logits, members)[0])


def test_what_is_met_is_no_part_of_the_classifier(tmp_path: Path) -> None:
    """It takes a place neither in its design nor in its weights."""
    both = TrainingLoss(
        name="ce", scale=1.0, margin=0.0, class_weight="balanced", beta=0.9, gamma=2.0
    )
    head = emotion_head.build(Design(**{**DESIGN.model_dump(), "method": "frozen", "loss": both}))
    head.meet(WEIGHTS, 2.0)
    emotion_head.save(head, tmp_path)
    again = emotion_head.load(tmp_path)
    assert again.design.loss == CE
    assert again.class_weights is None


def test_adapters_on_the_head_alone_train_and_are_fewer_than_the_head() -> None:
    head = built("lora-classifier")
    trained = {name: p for name, p in head.named_parameters() if p.requires_grad}
    assert all("lora_" in name for name in trained)
    # On 16 -> 8 -> 2: an A and a B of rank 2 for each of the two layers.
    assert sum(p.numel() for p in trained.values()) == 2 * (16 + 8) + 2 * (8 + 2)


@pytest.mark.parametrize("method", ["frozen", "lora-classifier"])
def test_what_is_saved_predicts_the_same_under_any_seed(tmp_path: Path, method: str) -> None:
    head = built(method)
    with torch.no_grad():
        for parameter in head.parameters():
            if parameter.requires_grad:
                parameter.normal_()
    means = [torch.randn(5, 16)]
    emotion_head.save(head, tmp_path)
    torch.manual_seed(99)
    again = emotion_head.load(tmp_path)
    assert torch.equal(again.of_means(means), head.of_means(means))


def test_a_damaged_head_is_one_line(tmp_path: Path) -> None:
    emotion_head.save(built(), tmp_path)
    path = tmp_path / "head.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(PipelineError, match="run `dvc repro`"):
        emotion_head.load(tmp_path)
