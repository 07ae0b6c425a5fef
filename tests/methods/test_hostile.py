"""A stranger's classifier: whatever its files hold, one line, at once, and little memory."""

import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.cli import export
from pipeline.embeddings.frames import Scale
from pipeline.encoders import layout
from pipeline.ground.errors import PipelineError
from pipeline.inference import judge
from pipeline.methods import emotion_head, lora
from pipeline.methods.networks import crnn, regression
from pipeline.methods.networks.regressor import Design, Regressor, Regressors
from tests.faults.test_fuzz import allow
from tests.methods.test_classifier import saved, trained
from tests.speech import small_encoder

MEMORY_BYTES = 2**31
HUGE: Any = 10**7
NUMBERS = [HUGE, 10**30, -1, 0, None, [], "x", True, 1e308, float("nan"), float("inf")]


@pytest.fixture
def little_memory() -> Iterator[None]:
    """What is asked for beyond what is there already, and 2 GB, is refused."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    allow(MEMORY_BYTES)
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def folder_of(method: str, **model: Any) -> Path:
    base = small_encoder(Path("artifacts/encoders/tiny"))
    return saved(trained(base, method, **model), Path("m"))


def refused(folder: Path, has_encoder: bool = True) -> None:
    """Predict and export stop with one line that is no traceback."""
    with pytest.raises(PipelineError) as caught:
        judge.load(folder)
    told = str(caught.value)
    assert "\n" not in told and "m" in told.split(": ", maxsplit=1)[0]
    if has_encoder:
        with pytest.raises(PipelineError) as again:
            export.main(folder, Path("out"))
        assert str(again.value) == told
        assert not Path("out").exists()


def changes(path: Path) -> Iterator[Any]:
    """The settings of a JSON file with one value of another kind or size, at any depth."""
    good = json.loads(path.read_text("utf-8"))
    yield from ([], None, 5, "x", [good], {})
    yield from _changed(good)


def _changed(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from ({**value, key: new} for key in value for new in _changed(value[key]))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from (number for number in NUMBERS if number != value)
    elif isinstance(value, list):
        yield from ([], value * 1000, value[:1], [None], 7, {})
    else:
        yield from ("no-such-thing", 5, [], {}, "\x1b[2J")


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("full", "config.json"),
        ("full", "preprocessor_config.json"),
        ("full", "classifier.json"),
        ("lora-qkv", "classifier.json"),
        ("frozen", "classifier.json"),
        ("lora-classifier", "classifier.json"),
    ],
)
def test_settings_of_any_kind_or_size(
    project: Path, little_memory: None, method: str, name: str
) -> None:
    """What takes no part may hold anything; what does is refused, or changes no shape."""
    folder = folder_of(method)
    good = (folder / name).read_text("utf-8")
    stopped = 0
    for settings in changes(folder / name):
        (folder / name).write_text(json.dumps(settings), "utf-8")
        try:
            judge.load(folder)
        except PipelineError as error:
            assert "\n" not in str(error), settings
            stopped += 1
    assert stopped >= 10
    (folder / name).write_text(good, "utf-8")
    assert judge.load(folder).classes


@pytest.mark.parametrize(
    "changed",
    [
        {"hidden_act": "no-such-thing"},
        {"num_hidden_layers": HUGE},
        {"num_hidden_layers": 3},
        {"hidden_size": 2**14},
        {"conv_dim": [16_384] * 7},
        {"add_adapter": True, "num_adapter_layers": HUGE},
        {"num_attention_heads": 3},
        {"num_conv_pos_embedding_groups": 0},
        {"layer_norm_eps": float("nan")},
        {"model_type": "unispeech"},
        {"model_type": ["wavlm"]},
        {"model_type": "wavlm", "num_buckets": 3200},
        {"model_type": "wavlm", "max_bucket_distance": HUGE},
        {"model_type": "data2vec-audio", "num_conv_pos_embeddings": 65},
        {"conv_pos_batch_norm": True},
    ],
)
def test_an_encoder_beyond_the_limits(
    project: Path, little_memory: None, changed: dict[str, Any]
) -> None:
    folder = folder_of("full")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changed), "utf-8")
    refused(folder)


def test_what_the_encoder_does_not_read_is_left_out(project: Path) -> None:
    folder = folder_of("full")
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    odd = {"num_labels": HUGE, "id2label": [1], "torch_dtype": "x", "return_dict": False}
    path.write_text(json.dumps(config | odd | {"output_hidden_states": True}), "utf-8")
    assert judge.load(folder).classes


def test_classes_that_are_not_the_heads(project: Path, little_memory: None) -> None:
    folder = folder_of("full")
    path = folder / "classifier.json"
    good = json.loads(path.read_text("utf-8"))
    for classes in (["a"], ["a", "b", "c"], [], [f"c{n}" for n in range(900)], ["a", "b\n"]):
        path.write_text(json.dumps(good | {"classes": classes}), "utf-8")
        refused(folder)


@pytest.mark.parametrize("method", ["full", "lora-qkv", "frozen", "lora-classifier"])
def test_weights_that_are_not_finite_or_of_another_shape(project: Path, method: str) -> None:
    folder = folder_of(method)
    names = {"full": layout.WEIGHTS, "frozen": emotion_head.HEAD}
    path = folder / names.get(method, lora.WEIGHTS)
    good = load_file(path)
    key = max(good)
    for bad in (
        {key: torch.full_like(good[key], torch.nan)},
        {key: good[key].double()},
        {key: good[key][:-1].clone()},
        {key: torch.zeros(0)},
        {"strange": torch.zeros(3)},
    ):
        save_file({**good, **bad}, path)
        refused(folder)
    save_file({k: v for k, v in good.items() if k != key}, path)
    refused(folder)
    path.write_bytes(path.read_bytes()[:100])
    refused(folder)


def test_finite_weights_that_give_no_finite_logits(project: Path) -> None:
    folder = folder_of("full")
    path = folder / layout.WEIGHTS
    save_file({k: torch.full_like(v, 1e38) for k, v in load_file(path).items()}, path)
    refused(folder)


def test_a_rank_beyond_its_adapters(project: Path, little_memory: None) -> None:
    folder = folder_of("lora-qkv")
    path = folder / "classifier.json"
    good = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(good | {"lora": {**good["lora"], "rank": 4096}}), "utf-8")
    refused(folder)


def test_a_network_on_cached_frames(project: Path, little_memory: None) -> None:
    design = crnn.Design(classes=["a", "b"], bands=8, channels=[4, 4], gru_width=4, dropout=0.0)
    folder = Path("m")
    folder.mkdir()
    crnn.save(crnn.Crnn(design), Scale(torch.zeros(8), torch.ones(8)), folder)
    assert crnn.load(folder)[0].design == design
    free = {"dropout": 0, "classes": []}
    good = json.loads((folder / crnn.DESIGN).read_text("utf-8")) | free
    for settings in changes(folder / crnn.DESIGN):
        (folder / crnn.DESIGN).write_text(json.dumps(settings), "utf-8")
        try:
            crnn.load(folder)
        except PipelineError as error:
            assert "\n" not in str(error), settings
        else:
            assert {**settings, **free} == good


def test_regressors_on_cached_frames(project: Path, little_memory: None) -> None:
    design = Design(
        head="cnn-lstm-attention",
        classes=["a", "b"],
        means=[1.0, 2.0],
        deviations=[1.0, 2.0],
        joint=False,
        width=8,
        conv=[4],
        lstm_width=4,
        feed_forward=[4],
        attention_scale="sqrt",
        output="linear",
        loss="ccc",
    )
    folder, frames = Path("m"), torch.randn(2, 9, 8)
    folder.mkdir()
    made = Regressors({n: Regressor(design, own) for n, own in design.groups.items()})
    regression.save(made, Scale(torch.zeros(8), torch.ones(8)), folder)
    found, _ = regression.load(folder)
    assert found.design == design
    lengths = torch.tensor([9, 5])
    assert torch.equal(found(frames, lengths), made(frames, lengths))
    # What changes neither weight nor shape.
    free: dict[str, object] = {"classes": [], "means": [], "deviations": [], "loss": ""}
    free |= {"output": "", "attention_scale": "", "version": 3}
    good = json.loads((folder / regression.DESIGN).read_text("utf-8")) | free
    for settings in changes(folder / regression.DESIGN):
        (folder / regression.DESIGN).write_text(json.dumps(settings), "utf-8")
        try:
            regression.load(folder)
        except PipelineError as error:
            assert "\n" not in str(error), settings
        else:
            assert {**settings, **free} == good


@pytest.mark.parametrize("name", ["config.json", "classifier.json", layout.WEIGHTS])
def test_a_pipe_in_a_files_place(project: Path, name: str) -> None:
    import os

    folder = folder_of("full")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(PipelineError, match=r"classifier\.json|not a regular file"):
        judge.load(folder)
