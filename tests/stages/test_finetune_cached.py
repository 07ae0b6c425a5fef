"""finetune_cached: what trains on the embeddings that `extract` wrote."""

import csv
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression

from pipeline.audio.flac import read_clip
from pipeline.cli.preset import merged
from pipeline.embeddings.reader import Embeddings
from pipeline.encoders import encoder as encoders
from pipeline.ground import params
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import load
from pipeline.inference import judge
from pipeline.methods import adaptation, classifier
from pipeline.methods.classifier import Classifier
from pipeline.methods.emotion_head import Design
from pipeline.methods.finetuning import FinetuneParams
from pipeline.splits import folds, imbalance
from pipeline.splits.task import Example, of_role
from pipeline.training import loop
from pipeline.training.fit import Fit
from pipeline.training.waves import Waves
from pipeline.work.seeds import derive
from stages import extract, finetune_cached
from tests.methods.test_classifier import LARGE
from tests.speech import extracted_tones, small_encoder

OVERLAY = """
corpora: [tones]
task: {emotion: {classes: [angry, sad], merge: {}}}
extract: {dtype: float32}
finetune:
  methods:
    linear: {pooling: mean, c: [0.1]}
    frozen: {training: {learning_rate: 1e-2}}
    lora-classifier: {training: {learning_rate: 1e-2}}
"""


@pytest.fixture
def found(project: Path) -> list[Example]:
    return extracted_tones(OVERLAY, 30)


def test_linear_is_scikit_learn_on_the_cached_means(found: list[Example]) -> None:
    finetune_cached.main("emotion", "fbank", "linear", 0)
    with h5py.File("artifacts/embeddings/fbank/tones.h5") as file:
        means = dict(zip(file["clip"].asstr()[:], file["mean_last"][:], strict=True))
    inputs = np.stack([means[e.clip.clip] for e in found])
    roles, labels = (np.array([getattr(e, n) for e in found]) for n in ("role", "label"))
    train = roles == "train"
    scaled = (inputs - inputs[train].mean(0)) / inputs[train].std(0)
    peer = LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000)
    expected = peer.fit(scaled[train], labels[train]).predict_log_proba(scaled)
    at = {e.clip.utterance: row for row, e in enumerate(found)}
    with Path("artifacts/classifiers/emotion/fbank/linear/0/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == (~train).sum()
    for row in rows:
        got = [float(row["angry"]), float(row["sad"])]
        np.testing.assert_allclose(got, expected[at[row["utterance"]]], atol=1e-3)


@pytest.mark.parametrize("kind", ["none", "balanced", "effective-number"])
def test_linear_weighs_classes_as_scikit_learn(found: list[Example], kind: str) -> None:
    """Against weights as scikit-learn has them, of which those of `kind` are checked elsewhere."""
    keep = [e for e in found if e.label == 0 or e.role != "train" or int(e.clip.clip[-2:]) < 12]
    folds.write(folds.FOLDS, [{e.clip.clip: e.role for e in keep}])
    own = {"c": [0.1], "class_weight": kind, "beta": 0.9}
    set_params({"finetune": {"methods": {"linear": own}}})
    finetune_cached.main("emotion", "fbank", "linear", 0)
    with h5py.File("artifacts/embeddings/fbank/tones.h5") as file:
        means = dict(zip(file["clip"].asstr()[:], file["mean_last"][:], strict=True))
    train = [e for e in keep if e.role == "train"]
    inputs, labels = np.stack([means[e.clip.clip] for e in train]), [e.label for e in train]
    weights = imbalance.weights(kind, labels, 2, 0.9)  # type: ignore[arg-type]
    peer = LogisticRegression(
        C=0.1, class_weight=weights if weights is None else {0: weights[0], 1: weights[1]}
    )
    mean, deviation = inputs.mean(0), inputs.std(0)
    peer.fit((inputs - mean) / deviation, labels)
    found_ = load_file("artifacts/classifiers/emotion/fbank/linear/0/model.safetensors")
    np.testing.assert_allclose(found_["weight"], peer.coef_, atol=2e-3)
    assert len(set(labels)) == 2
    assert labels.count(0) > labels.count(1)


@pytest.mark.parametrize("method", ["frozen", "lora-classifier"])
def test_imbalance_is_met_by_weights_gamma_and_sampling(found: list[Example], method: str) -> None:
    """Each of them changes what is learnt, and the same settings learn the same."""
    small_encoder(Path("artifacts/encoders/tiny"))
    extract.main("tiny", "tones")
    keep = [e for e in found if e.label == 0 or e.role != "train" or int(e.clip.clip[-2:]) < 12]
    folds.write(folds.FOLDS, [{e.clip.clip: e.role for e in keep}])
    learnt = []
    for settings in (
        {},
        {"loss": {"class_weight": "balanced"}},
        {"loss": {"class_weight": "effective-number", "beta": 0.9}},
        {"loss": {"gamma": 2.0}},
        {"training": {"sampling": "balanced"}},
        {"loss": {"gamma": 0.0}, "training": {"sampling": "balanced"}},
    ):
        plain = {"loss": {"class_weight": "none", "gamma": 0.0}}
        plain["training"] = {"sampling": "shuffled"}
        for values in (plain, settings):
            set_params({"finetune": {"methods": {method: values}}})
        finetune_cached.main("emotion", "tiny", method, 0)  # type: ignore[arg-type]
        learnt.append(
            Path(f"artifacts/classifiers/emotion/tiny/{method}/0/predictions.csv").read_bytes()
        )
    assert len(set(learnt)) == 5
    assert learnt[-1] == learnt[-2]


def test_embeddings_that_are_not_there_are_named(found: list[Example]) -> None:
    with pytest.raises(PipelineError, match=r"embeddings/tiny/tones\.h5: no such file"):
        finetune_cached.main("emotion", "tiny", "linear", 0)


@pytest.mark.parametrize(
    ("method", "head", "style"),
    [
        ("frozen", {}, {}),
        ("frozen", {}, LARGE),
        ("frozen", {"head": "attentive"}, LARGE),
        ("frozen", {"head": "mean-max", "layer": "weighted"}, {}),
        ("frozen", {"head": "bilstm"}, {}),
        ("lora-classifier", {}, {}),
        ("lora-classifier", {}, LARGE),
    ],
)
def test_what_is_cached_trains_what_the_encoder_in_the_loop_would(
    found: list[Example], method: str, head: dict[str, Any], style: dict[str, Any]
) -> None:
    base = small_encoder(Path("artifacts/encoders/tiny"), **style)
    set_params({"extract": {"frames": "all"}, "finetune": frozen(head)})
    extract.main("tiny", "tones")
    finetune_cached.main("emotion", "tiny", method, 0)  # type: ignore[arg-type]
    folder = Path(f"artifacts/classifiers/emotion/tiny/{method}/0")
    design = Design.read(folder)
    body = encoders.load(base)
    settings = getattr(load("finetune", FinetuneParams).methods, method.replace("-", "_")).training
    Path("live").mkdir()
    seed = derive(load("seed", int), "finetune", 0)
    fit = Fit(settings, seed, torch.device("cpu"), 60.0, Path("live"), Waves(body))
    torch.manual_seed(derive(seed, "init"))
    live = Classifier(body, design)
    before = body.state_dict()["encoder.layers.0.final_layer_norm.weight"].clone()
    history = loop.train(
        fit,
        live,
        of_role(found, "train"),
        of_role(found, "dev"),
        lambda: adaptation.score(fit, live, of_role(found, "dev"), "emotion"),
    )
    assert history[-1]["train_loss"] < 0.9 * history[0]["train_loss"]
    assert torch.equal(body.state_dict()["encoder.layers.0.final_layer_norm.weight"], before)
    # Adam follows the sign of gradients that are rounding, so weights drift apart a little.
    expected = adaptation.logits(fit, live, found)
    cached = adaptation.logits(fit, classifier.load(folder), found)
    np.testing.assert_allclose(cached, expected, rtol=1e-3, atol=1e-3)
    assert np.abs(expected).max() > 0.1


@pytest.mark.parametrize("head", ["attentive", "mean-max"])
def test_what_reads_frames_judges_a_recording_as_its_cached_frames(
    found: list[Example], head: str
) -> None:
    set_params({"extract": {"dtype": "float16"}, "finetune": frozen({"head": head})})
    extract.main("fbank", "tones")
    finetune_cached.main("emotion", "fbank", "frozen", 0)
    folder = Path("artifacts/classifiers/emotion/fbank/frozen/0")
    clips = {e.clip.utterance: e.clip for e in found}
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    made = judge.load(folder).logits([read_clip(clips[row["utterance"]].file) for row in rows])
    expected = [[float(row["angry"]), float(row["sad"])] for row in rows]
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-4)


def test_frames_that_are_not_cached_are_named(found: list[Example]) -> None:
    small_encoder(Path("artifacts/encoders/tiny"))
    set_params({"finetune": frozen({"head": "mean-max", "layer": -2})})
    extract.main("tiny", "tones")
    with pytest.raises(PipelineError, match=r"tiny/tones\.h5: no 'layer_1', .* extract\.frames"):
        finetune_cached.main("emotion", "tiny", "frozen", 0)


def test_a_vector_a_clip_has_no_frames_to_read(
    found: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_params({"finetune": frozen({"head": "attentive"})})
    monkeypatch.setattr(Embeddings, "hop_s", 0.0)
    with pytest.raises(PipelineError, match=r"frozen\.model\.head must be pool for 'fbank'"):
        finetune_cached.main("emotion", "fbank", "frozen", 0)


def frozen(model: dict[str, Any]) -> dict[str, Any]:
    """The part of ``finetune`` that says how the frozen method's head is."""
    return {"methods": {"frozen": {"model": model}}}


def set_params(values: dict[str, Any]) -> None:
    text = merged(Path("params.yaml").read_text("utf-8"), json.dumps(values))
    Path("params.yaml").write_text(text, "utf-8")
    params.read.cache_clear()
