"""Sizes of encoders by their settings, against transformers' own count."""

from pathlib import Path

import pytest

from pipeline.cli.parameters import SHAPES
from pipeline.encoders import encoder
from pipeline.ground.code import ROOT
from pipeline.ground.params import read
from pipeline.methods.finetuning import Network
from pipeline.methods.networks.crnn import Crnn
from pipeline.methods.networks.crnn import Design as CrnnDesign
from pipeline.methods.networks.regressor import Design, Regressor
from pipeline.needs import networks, shapes

SHARES = 9


def counted(settings: dict[str, object]) -> int:
    return sum(p.numel() for p in encoder.skeleton(settings).parameters())


@pytest.mark.parametrize("name", ["hubert-base", "hubert-large"])
def test_a_published_encoder_has_the_parameters_of_its_family(project: Path, name: str) -> None:
    shape = shapes.of(name)
    assert shape.parameters == pytest.approx(counted(SHAPES[name]), rel=0.01)


def test_the_shipped_one_is_read_from_its_folder(project: Path) -> None:
    (project / "encoders").symlink_to(ROOT / "encoders")
    count = sum(p.numel() for p in encoder.outline(ROOT / "encoders/tiny/config.json").parameters())
    assert shapes.of("tiny").parameters == pytest.approx(count, rel=0.02)


def test_what_lies_here_is_believed_before_the_family(project: Path) -> None:
    folder = project / "artifacts/encoders/hubert-large"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "hubert", "num_hidden_layers": 3}')
    assert shapes.of("hubert-large") == shapes.Shape(3, 768, 3072, 512)


def test_operations_of_base_are_those_that_a_gpu_was_measured_by(project: Path) -> None:
    """12.5 GFLOP for a second of audio up to block -3, with what grows with its square."""
    base = shapes.of("hubert-base")
    assert base.front_flops + base.block_flops * 10 / 12 == pytest.approx(12.5e9, rel=0.05)


def test_layers_and_frames_of_each_kind(project: Path) -> None:
    large, fbank, functionals = map(shapes.of, ("hubert-large", "fbank", "egemaps"))
    assert (large.layers("all"), large.layers([-3, -3, "last"])) == (26, 2)
    assert large.frames(10, 1) == 500
    assert (fbank.layers("all"), fbank.width, fbank.frames(10, 1)) == (1, 40, 1000)
    assert (functionals.width, functionals.frames(10, 3)) == (88, 3)


@pytest.mark.parametrize("head", ["cnn-lstm", "cnn-lstm-attention"])
@pytest.mark.parametrize("regressors", ["separate", "joint"])
def test_regressors_are_as_large_as_the_real_ones(
    project: Path, head: Network, regressors: str
) -> None:
    told = read(Path("params.yaml").absolute())["networks"]
    outputs = SHARES if regressors == "joint" else 1
    real = Regressor(
        Design(
            head=head,
            classes=[f"e{n}" for n in range(outputs)],
            means=[0.0] * outputs,
            deviations=[1.0] * outputs,
            joint=True,
            loss="mse",
            width=40,
            **{**told["model"], "feed_forward": told["model"]["feed_forward"][head]},
        ),
        range(outputs),
    )
    count = sum(p.numel() for p in real.parameters()) * SHARES // outputs
    settings = {"model": told["model"], "training": {"regressors": regressors}}
    found = networks.regressors(settings, head, shapes.of("fbank"), SHARES)
    assert found.parameters == pytest.approx(count, rel=0.1)
    # Each weight of a convolution meets every frame, of the LSTM every second one.
    conv = sum(p.numel() for p in real.head.trunk.conv.parameters() if p.dim() > 1)
    lstm = sum(p.numel() for n, p in real.head.trunk.named_parameters() if "weight_" in n)
    each = 6 * 100 * (conv + lstm / 2) * SHARES / outputs
    assert found.train_flops == pytest.approx(each, rel=0.01)


def test_a_crnn_is_as_large_as_the_real_one(project: Path) -> None:
    told = read(Path("params.yaml").absolute())["crnn"]["model"]
    real = Crnn(CrnnDesign(classes=["a", "b"], bands=64, **told), 0.0)
    count = sum(p.numel() for p in real.parameters())
    found = networks.crnn(told, shapes.of("logmel"), 2)
    assert found.parameters == pytest.approx(count, rel=0.1)
