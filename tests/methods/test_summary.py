"""The table of parameters, against what transformers builds."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import HubertConfig, HubertForSequenceClassification

from pipeline.cli import parameters
from pipeline.encoders import encoder as encoders
from pipeline.methods import summary
from pipeline.methods.classifier import Classifier
from tests.methods.test_classifier import CE, design_of
from tests.speech import SMALL
from tests.training.test_fit import MODEL


@pytest.fixture
def large(project: Path) -> Any:
    """HuBERT large under the paper's head of 256 and 8 classes, without memory."""
    shape = parameters.SHAPES["hubert-large"]
    design = design_of(project, "full").model_copy(
        update={
            "target": "emotion",
            "classes": list("abcdefgh"),
            "width": 1024,
            "blocks": 24,
            "model": MODEL.model_copy(update={"projection": 256}),
        }
    )
    return parameters._modules(shape, design, False)


def test_the_totals_are_those_of_transformers(large: Any) -> None:
    shape = parameters.SHAPES["hubert-large"]
    config = HubertConfig.from_dict({**shape, "num_labels": 8})
    with torch.device("meta"):
        peer = HubertForSequenceClassification(config)
    found = {row.block.strip(): row for row in summary.rows(*large)}

    def count(module: Any) -> int:
        return sum(p.numel() for p in module.parameters())

    assert found["total"].total == found["total"].trainable == count(peer) == 315_703_176
    assert found["encoder"].total == count(peer.hubert.encoder)
    assert found["block (24, each)"].total == count(peer.hubert.encoder.layers[3]) == 12_596_224
    # Where the paper's Table 1 is right.
    assert (found["projector"].total, found["classifier"].total) == (262_400, 2_056)
    parts = [row.total for row in summary.rows(*large)[:-1] if not row.block.startswith(" ")]
    assert sum(parts) == count(peer)


def test_the_shapes_are_those_that_pass() -> None:
    model = encoders.initialize({**SMALL, "hidden_size": 16}, 0)
    seen: dict[str, list[int]] = {}
    convolutions = [f"feature_extractor.conv_layers.{number}" for number in (0, 4, 6)]
    for name in (*convolutions, "feature_extractor", "feature_projection", "encoder.layers.0"):
        model.get_submodule(name).register_forward_hook(
            lambda _module, _input, output, name=name: seen.update({name: list(output.shape)})
        )
    with torch.no_grad():
        model(torch.randn(1, 16000))
    rows = {row.block.strip(): row.output for row in summary._encoder(model)}
    assert rows["feature encoder"] == str(seen["feature_extractor"])
    assert rows["feature projection"] == str(seen["feature_projection"])
    assert rows["block (2, each)"] == str(seen["encoder.layers.0"])
    names = ("convolution 0", "convolutions 1 to 4", "convolutions 5 to 6")
    assert [rows[name] for name in names] == [str(seen[name]) for name in convolutions]


def test_what_is_trainable_is_what_the_optimiser_gets(project: Path) -> None:
    for method, head in (
        ("full", "bilstm"),
        ("lora-qkv", "attentive"),
        ("frozen", "mean-max"),
        ("lora-classifier", "pool"),
    ):
        with torch.random.fork_rng():
            body = encoders.initialize(SMALL, 0)
            design = design_of(project, method, CE, batch_norm=True, layer="weighted", head=head)
            model = Classifier(body, design)
        total = summary.rows(model.encoder, model.head)[-1]
        assert total.total == sum(p.numel() for p in model.parameters())
        assert total.trainable == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_a_folder_holds_the_table(large: Any, tmp_path: Path) -> None:
    found = summary.rows(None, large[1])
    summary.write(tmp_path, found)
    with (tmp_path / "parameters.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["block"] for row in rows] == ["projector", "classifier", "total"]
    assert rows[-1]["total"] == str(262_400 + 2_056)


def test_the_command_prints_each_method(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parameters.main("hubert-large")
    text = capsys.readouterr().out
    for method in ("full", "lora-qkv", "frozen", "lora-classifier"):
        assert f"hubert-large, {method}" in text
    assert "437,748,968" in text
