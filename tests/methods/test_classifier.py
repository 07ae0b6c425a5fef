"""Classifiers: what is saved is what predicts, for each method, here and in transformers."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoFeatureExtractor, AutoModel, AutoModelForAudioClassification

from pipeline.encoders import encoder as encoders
from pipeline.encoders import forward, layout
from pipeline.ground.errors import PipelineError
from pipeline.methods import classifier, emotion_head, lora
from pipeline.methods.adaptation import logits
from pipeline.methods.emotion_head import Design
from pipeline.methods.finetuning import LoraParams, LossParams, OwnLoss
from pipeline.splits.task import of_role
from tests.speech import small_encoder, tone_clips
from tests.training.test_fit import DESIGN, MODEL, SETTINGS, fit_of, train

ROOT = Path(__file__).resolve().parents[2]
CE = LossParams(name="ce", scale=1.0, margin=0.0)
LARGE: dict[str, Any] = {
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
}
# For each classifier: its logits, and its files written anew.
AGAIN = """
import sys, torch, numpy as np
from pathlib import Path
from pipeline.methods import classifier, emotion_head
torch.manual_seed(12345)
waves = [torch.from_numpy(np.random.default_rng(3).standard_normal(n).astype("f4"))
         for n in (4000, 7001)]
for folder in map(Path, sys.argv[1:]):
    model = classifier.load(folder)
    with torch.inference_mode():
        np.save(folder / "logits.npy", model(waves).numpy())
    again = folder / "again"
    again.mkdir()
    if model.design.method in classifier.ADAPTED:
        classifier.save(model, again)
    else:
        emotion_head.save(model.head, again)
"""


def design_of(base: Path, method: str, loss: LossParams | OwnLoss = CE, **model: Any) -> Design:
    changes = {
        "method": method,
        "encoder": str(base),
        "encoder_sha256": layout.weights_sha256(base),
        "model": MODEL.model_copy(update=model),
        "loss": loss,
    }
    if method.startswith("lora"):
        changes["lora"] = LoraParams(rank=2, alpha=4.0, dropout=0.0)
    return DESIGN.model_copy(update=changes)


def trained(
    base: Path, method: str, loss: LossParams | OwnLoss = CE, **model: Any
) -> classifier.Classifier:
    torch.manual_seed(0)
    made = classifier.Classifier(
        encoders.load(base, freeze_conv=True), design_of(base, method, loss, **model)
    )
    settings = SETTINGS.model_copy(update={"epochs": 1, "learning_rate": 1e-2})
    train(
        fit_of(made, settings, folder=f"scratch-{base.parent.name}-{method}"), made, tone_clips(20)
    )
    return made.eval()


def saved(model: classifier.Classifier, folder: Path) -> Path:
    folder.mkdir()
    if model.design.method in classifier.ADAPTED:
        classifier.save(model, folder)
    else:
        emotion_head.save(model.head, folder)
    return folder


def test_a_fresh_process_predicts_and_saves_the_same(project: Path) -> None:
    """One process for all, since it imports for longer than it predicts."""
    models: dict[str, Any] = {}
    for kind in ("hubert", "wavlm", "data2vec-audio"):
        base = small_encoder(project / kind / "encoder", model_type=kind)
        models |= {
            f"{kind}/full": trained(base, "full", head="bilstm"),
            f"{kind}/lora-qkv": trained(base, "lora-qkv", DESIGN.loss),
            f"{kind}/frozen": trained(base, "frozen", layer="weighted", batch_norm=True),
            f"{kind}/lora-classifier": trained(base, "lora-classifier"),
        }
    folders = {name: saved(model, project / name) for name, model in models.items()}
    written = {name: sorted(folder.iterdir()) for name, folder in folders.items()}
    # The order of a set follows the hash seed.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "5"}
    command = [sys.executable, "-c", AGAIN, *map(str, folders.values())]
    subprocess.run(command, env=environment, check=True)
    rng = np.random.default_rng
    waves = [torch.from_numpy(rng(3).standard_normal(n).astype("f4")) for n in (4000, 7001)]
    for name, model in models.items():
        with torch.inference_mode():
            assert np.array_equal(np.load(folders[name] / "logits.npy"), model(waves)), name
        for path in written[name]:
            again = folders[name] / "again" / path.name
            assert again.read_bytes() == path.read_bytes(), path


@pytest.mark.parametrize("style", [{}, LARGE], ids=["base", "large"])
@pytest.mark.parametrize("layer", ["last", "weighted"])
@pytest.mark.parametrize("kind", ["hubert", "wav2vec2", "wavlm", "data2vec-audio"])
def test_transformers_loads_a_full_model(
    project: Path, style: dict[str, Any], layer: str, kind: str
) -> None:
    base = small_encoder(project / "encoder", model_type=kind, **style)
    model = trained(base, "full", layer=layer)
    folder = saved(model, project / "classifier")
    peer, report = AutoModelForAudioClassification.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert peer.config.id2label == {0: "angry", 1: "sad"}
    wave = torch.randn(5000)
    inputs = AutoFeatureExtractor.from_pretrained(folder)(
        wave.numpy(), sampling_rate=16000, return_tensors="pt"
    )
    with torch.inference_mode():
        theirs = peer.eval()(inputs.input_values).logits
        torch.testing.assert_close(model([wave]), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["hubert", "wavlm", "data2vec-audio"])
def test_peft_loads_adapters_and_head_and_merges_them(project: Path, kind: str) -> None:
    base = small_encoder(project / "encoder", model_type=kind)
    model = trained(base, "lora-qkv")
    folder = saved(model, project / "classifier")
    written = sorted(path.name for path in folder.iterdir())
    assert written == ["adapter_config.json", "adapter_model.safetensors", "classifier.json"]
    torch.manual_seed(7)  # of the peer's own new head, which the folder's replaces
    start = AutoModelForAudioClassification.from_pretrained(
        base, num_labels=2, classifier_proj_size=8
    )
    peer = PeftModel.from_pretrained(start, folder).eval()
    wave = torch.randn(5000)
    with torch.inference_mode():
        expected = model([wave])
        if kind != "wavlm":  # whose projections transformers never runs
            torch.testing.assert_close(peer(wave[None]).logits, expected, rtol=1e-4, atol=1e-5)
        merged = peer.merge_and_unload()
        torch.testing.assert_close(merged(wave[None]).logits, expected, rtol=1e-4, atol=1e-5)


def test_peft_loads_the_adapters_of_a_head_on_its_untrained_weights(project: Path) -> None:
    base = small_encoder(project / "encoder")
    model = trained(base, "lora-classifier")
    folder = saved(model, project / "classifier")
    start = AutoModelForAudioClassification.from_pretrained(
        base, num_labels=2, classifier_proj_size=8
    )
    start.load_state_dict(load_file(folder / "head.safetensors"), strict=False)
    peer = PeftModel.from_pretrained(start, folder).eval()
    wave = torch.randn(5000)
    with torch.inference_mode():
        torch.testing.assert_close(peer(wave[None]).logits, model([wave]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["lora-qkv", "lora-classifier"])
def test_merged_adapters_predict_the_same(project: Path, method: str) -> None:
    model = trained(small_encoder(project / "encoder"), method)
    waves = [torch.randn(5000), torch.randn(3000)]
    with torch.inference_mode():
        before = model(waves)
        lora.merge(model)
        torch.testing.assert_close(model(waves), before, rtol=1e-4, atol=1e-5)
    assert not any("lora_" in name for name in model.state_dict())


def test_an_encoder_with_another_head_still_loads_as_an_encoder(project: Path) -> None:
    model = trained(small_encoder(project / "encoder"), "full", head="bilstm")
    folder = saved(model, project / "classifier")
    peer = AutoModel.from_pretrained(folder).eval()
    wave = torch.randn(5000)
    with torch.inference_mode():
        ours, _ = forward.hidden(model.encoder, [wave], ["last"])
        torch.testing.assert_close(peer(wave[None]).last_hidden_state, ours["last"])


def test_lora_trains_adapters_and_head_alone(project: Path) -> None:
    base = small_encoder(project / "encoder")
    model = trained(base, "lora-qkv")
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    adapters = [name for name in names if "lora_" in name]
    # Two blocks, three projections, an A and a B each.
    assert len(adapters) == 2 * 3 * 2
    assert all(name.startswith("head.") for name in set(names) - set(adapters))
    original = encoders.load(base).state_dict()
    for name, value in lora.without(model.encoder).items():
        assert torch.equal(value, original[name]), name


@pytest.mark.parametrize("method", ["lora-qkv", "frozen"])
def test_what_depends_on_an_encoder_refuses_another(project: Path, method: str) -> None:
    base = small_encoder(project / "encoder")
    folder = saved(trained(base, method), project / "classifier")
    with pytest.raises(PipelineError, match="belongs to another encoder"):
        classifier.load(folder, small_encoder(project / "other", seed=9))


@pytest.mark.parametrize("method", ["full", "lora-qkv"])
def test_a_damaged_folder_is_one_line(project: Path, method: str) -> None:
    folder = saved(trained(small_encoder(project / "encoder"), method), project / "classifier")
    weights = next(folder.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(PipelineError, match="run `dvc repro`"):
        classifier.load(folder)


def test_logits_do_not_depend_on_the_batch(project: Path) -> None:
    model = trained(small_encoder(project / "encoder"), "full")
    found = of_role(tone_clips(20), "dev") + of_role(tone_clips(20), "test")
    alone = logits(fit_of(model, folder="a", budget_s=1e-6), model, found)
    together = logits(fit_of(model, folder="a", budget_s=1e6), model, found)
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)


def test_the_margin_is_for_training_alone(project: Path) -> None:
    model = trained(small_encoder(project / "encoder"), "full", DESIGN.loss)
    batch = next(fit_of(model, folder="b").batches(tone_clips(4)))
    model.eval()
    plain = torch.nn.functional.cross_entropy(
        model(batch.waves), torch.tensor([e.label for e in batch.examples]), reduction="sum"
    )
    torch.testing.assert_close(model.loss(batch)[0], plain)
