"""Single flipped bits in every kind of artefact: what reads it notices, or reads the same.

Sixty random places in each, by the function that every stage reads it with; then one flip of each
before the stage itself, which must stop with one line that names the file.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.audio import flac
from pipeline.corpora import manifest
from pipeline.embeddings.reader import Embeddings
from pipeline.encoders import encoder
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.methods import classifier, features, linear
from pipeline.methods.networks import crnn, regression
from pipeline.scoring import ratings, scores
from pipeline.splits import folds
from pipeline.units import codebooks
from tests.faults import chain

FLIPS = 60
Reader = Callable[[Path], Any]


def frozen(value: Any) -> Any:
    """Something comparable that holds every bit of it."""
    if isinstance(value, torch.Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, dict):
        return [(key, frozen(one)) for key, one in value.items()]
    return [frozen(one) for one in value] if isinstance(value, list | tuple) else repr(value)


def clips(_: Path) -> Any:
    return manifest.read(["demo"])


def embeddings(path: Path) -> Any:
    with Embeddings(path) as file:
        every = [file.embedding(clip) for clip in file.clips]
        values = [[*e.frames.values(), *e.means.values()] for e in every]
        return [file.attributes, file.clips, values]


def fold_units(path: Path) -> Any:
    with codebooks.Units(path) as file:
        return [file.scales, [(clip, file.units(clip)) for clip in file.clips]]


def weights(path: Path) -> Any:
    model = encoder.load(path.parent)
    return [model.config.to_dict(), model.do_normalize, model.state_dict()]


def trained(path: Path) -> Any:
    return classifier.load(path.parent, Path("artifacts/encoders/untrained")).state_dict()


def network(path: Path) -> Any:
    found, scale = crnn.load(path.parent)
    return [found.state_dict(), scale.mean, scale.deviation]


def planes(path: Path) -> Any:
    return linear.load(path)(np.eye(24, dtype=np.float32))


def used(path: Path) -> Any:
    return vars(features.Features.read(path.parent))


def regressors(path: Path) -> Any:
    found, scale = regression.load(path.parent)
    return [found.state_dict(), scale.mean, scale.deviation]


def classified(path: Path) -> Any:
    return vars(scores.read_classifier({0: path}, ["happy", "sad"]))


def shared(path: Path) -> Any:
    return vars(ratings.read_dimensions({0: path}, ["grief", "joy"]))


# Each artefact, what reads it, and a stage that does so where one does.
LORA = f"{chain.CLASSIFIERS}/pretrained/lora-qkv/0"
ARTEFACTS: dict[str, tuple[Reader, str]] = {
    "artifacts/clips/demo/audio/wav/3.flac": (flac.read_clip, "extract --encoder"),
    "artifacts/clips/demo/manifest.csv": (clips, "split"),
    "artifacts/clips/demo/audit.json": (files.read_json, "evaluate"),
    "artifacts/folds.csv": (folds.read_all, "multitask"),
    "artifacts/encoders/untrained/model.safetensors": (weights, "multitask"),
    "artifacts/encoders/untrained/config.json": (weights, "retrain"),
    "artifacts/encoders/fbank/config.json": (files.read_json, "extract --encoder"),
    "artifacts/embeddings/fbank/demo.h5": (embeddings, "finetune_cached"),
    "artifacts/multitask/0/model.safetensors": (weights, "extract --fold"),
    "artifacts/frames/0.h5": (embeddings, "cluster"),
    "artifacts/units/0/units.h5": (fold_units, "retrain"),
    "artifacts/units/0/codebooks.safetensors": (codebooks.read_codebooks, ""),
    "artifacts/retrained/0/model.safetensors": (
        weights,
        "finetune --task emotion --start retrained",
    ),
    f"{LORA}/classifier.json": (trained, ""),
    f"{LORA}/adapter_model.safetensors": (trained, ""),
    f"{chain.CLASSIFIERS}/fbank/crnn/0/model.safetensors": (network, ""),
    f"{chain.CLASSIFIERS}/fbank/crnn/0/crnn.json": (network, ""),
    f"{chain.CLASSIFIERS}/fbank/linear/0/model.safetensors": (planes, ""),
    f"{chain.CLASSIFIERS}/fbank/linear/0/features.json": (used, ""),
    "artifacts/units/0/report.json": (files.read_json, "evaluate"),
    "artifacts/probes/emotion/fbank/layers.csv": (files.read_csv, "evaluate"),
    "artifacts/probes/emotion/fbank/places.csv": (files.read_csv, "evaluate"),
    f"{chain.SHARE}/networks.json": (regressors, ""),
    f"{LORA}/predictions.csv": (classified, "evaluate"),
    f"{LORA}/history.csv": (scores.read_history, "evaluate"),
    f"{chain.SHARE}/model.safetensors": (regressors, ""),
    f"{chain.SHARE}/predictions.csv": (shared, "evaluate"),
}


def flipped(content: bytes, bit: int) -> bytes:
    bad = bytearray(content)
    bad[bit // 8] ^= 1 << bit % 8
    return bytes(bad)


# One of each kind: what has the same name and reader is the same kind.
KINDS = {(Path(name).name, read): name for name, (read, _) in ARTEFACTS.items()}


@pytest.mark.parametrize("name", KINDS.values())
def test_no_flipped_bit_changes_what_is_read(
    copied: Path, name: str, monkeypatch: pytest.MonkeyPatch, tell: Callable[[str, int], None]
) -> None:
    monkeypatch.chdir(copied)
    path, (read, _) = Path(name), ARTEFACTS[name]
    good, expected = path.read_bytes(), frozen(read(path))
    noticed = 0
    for bit in np.random.default_rng(len(good)).integers(0, 8 * len(good), FLIPS).tolist():
        path.write_bytes(flipped(good, bit))
        try:
            assert frozen(read(path)) == expected, bit
        except PipelineError as error:
            assert len(str(error).splitlines()) == 1
            noticed += 1
    # HDF5 and FLAC have bytes that hold nothing: gaps, the name of the encoder's library.
    assert noticed >= FLIPS // 2 if path.suffix in files.SELF_CHECKED else noticed == FLIPS
    tell("flipped bits", FLIPS)


@pytest.mark.parametrize("name", [name for name, (_, step) in ARTEFACTS.items() if step])
def test_the_stage_stops_at_a_damaged_input(copied: Path, name: str) -> None:
    path, step = copied / name, chain.step_of(ARTEFACTS[name][1])
    good, expected = path.read_bytes(), chain.contents(copied, step)
    path.write_bytes(flipped(good, 4 * len(good)))
    shutil.rmtree(copied / ".scratch")  # else the clip is not read at all
    status, told = chain.run(copied, step)
    assert status == 1
    assert "Traceback" not in told
    assert Path(name).name in told.splitlines()[-1]
    assert chain.contents(copied, step) == expected


def test_every_bit_of_the_header_of_a_clip(copied: Path) -> None:
    path = copied / "artifacts/clips/demo/audio/wav/3.flac"
    good, expected = path.read_bytes(), flac.read_clip(path).tobytes()
    for bit in range(8 * 42):
        path.write_bytes(flipped(good, bit))
        try:
            assert flac.read_clip(path).tobytes() == expected, bit
        except PipelineError:
            continue
