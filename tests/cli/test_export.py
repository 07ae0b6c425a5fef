"""`ser export`: one model of the hub that says the same, its card, and ONNX that says it too."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from transformers import AutoModelForAudioClassification

from pipeline.cli import export
from pipeline.corpora import manifest
from pipeline.encoders import encoder as encoders
from pipeline.encoders import forward
from pipeline.ground.errors import PipelineError
from pipeline.ground.provenance import Provenance
from pipeline.methods import classifier
from pipeline.splits import folds
from tests.methods.test_classifier import LARGE, saved, trained
from tests.speech import small_encoder, tone_clips

WAVES = [torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in (4000, 7001)]


@pytest.fixture
def toy(project: Path) -> Path:
    text = Path("params.yaml").read_text("utf-8")
    text = text.replace("\n- demo\n", "\n- tones\n", 1)
    text = text.replace("\ncorpus:\n", "\ncorpus:\n  tones: {parser: savee, language: en}\n", 1)
    Path("params.yaml").write_text(text, "utf-8")
    found = tone_clips(20)
    manifest.write(manifest.CLIPS / "tones" / "manifest.csv", [e.clip for e in found])
    folds.write(folds.FOLDS, [{e.clip.clip: e.role for e in found}])
    return project


def made(method: str, **model: Any) -> tuple[classifier.Classifier, Path]:
    found = trained(small_encoder(Path("artifacts/encoders/tiny"), **LARGE), method, **model)
    folder = Path("artifacts/classifiers/pretrained") / method / "0"
    folder.parent.mkdir(parents=True)
    saved(found, folder)
    Provenance.of(folder, [], []).write(folder)
    return found, folder


@pytest.mark.parametrize("method", ["full", "lora-qkv", "frozen", "lora-classifier"])
def test_transformers_says_the_same_of_each_method(toy: Path, method: str) -> None:
    model, folder = made(method)
    export.main(folder, Path("out"))
    peer = AutoModelForAudioClassification.from_pretrained("out").eval()
    with torch.inference_mode():
        for wave in WAVES:
            inputs = forward.prepare(model.encoder, wave)[None]
            torch.testing.assert_close(peer(inputs).logits, model([wave]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("place", ["m", "a/b", "some/other/full/7"])
def test_a_copy_keeps_its_name_wherever_it_lies(toy: Path, place: str) -> None:
    _, folder = made("full")
    shutil.copytree(folder, place)
    export.main(folder, Path("whole"))
    export.main(Path(place), Path("copy"))
    card = Path("copy/README.md").read_text("utf-8")
    assert "classifier `pretrained/full/0`" in card
    assert card == Path("whole/README.md").read_text("utf-8")


def test_a_folder_that_names_nothing_has_no_fold(toy: Path) -> None:
    _, folder = made("full")
    (folder / "provenance.json").unlink()
    folder.rename("m")
    export.main(Path("m"), Path("out"))
    assert "classifier `tiny/full`" in Path("out/README.md").read_text("utf-8")


def test_the_card_names_data_speakers_licence_and_scores(toy: Path) -> None:
    _, folder = made("full")
    export.main(folder, Path("before"))
    assert "None yet" in Path("before/README.md").read_text()
    Path("results").mkdir()
    Path("results/scores.json").write_text(
        '{"protocol": {"speaker_independent": false, "by": "random", "folds": [0, 1]},'
        '"emotion": {"pretrained": {"full": {"uar": 0.5, "uar_low": 0.4, "uar_high": 0.625,'
        '"war": 0.75, "utterances": 12, "speakers": 7}}}}'
    )
    export.main(folder, Path("after"))
    text = Path("after/README.md").read_text()
    header = YAML(typ="safe").load(text.split("---")[1])
    assert header["pipeline_tag"] == "audio-classification"
    assert "language" not in header  # the clips speak none
    roles = folds.read(0)
    clips = {c.clip: c for c in manifest.read(["tones"])}
    train = {clip for clip, role in roles.items() if role == "train"}
    names = ", ".join(sorted({clips[clip].speaker.split("/")[1] for clip in train}))
    licence = "for research, after registration; the wording was not checked"
    assert f"| tones | {licence} | train | {len(train)} | {names} |" in text
    assert "**not** speaker-independent: 12 test utterances of 7 speakers" in text
    assert "| UAR | 0.500 |" in text
    assert "0.400 to 0.625" in text
    assert "| EER" not in text


@pytest.mark.parametrize("style", [{}, LARGE], ids=["base", "large"])
@pytest.mark.parametrize("kind", ["hubert", "wav2vec2"])
def test_onnx_says_the_same(toy: Path, style: dict[str, Any], kind: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    base = small_encoder(toy / "artifacts/encoders/tiny", model_type=kind, **style)
    model = trained(base, "lora-qkv", layer="weighted")
    model.encoder.do_normalize = bool(style)
    encoders.write_config(model.encoder, base)
    folder = Path("artifacts/classifiers/pretrained/lora-qkv/0")
    folder.parent.mkdir(parents=True)
    export.main(saved(model, folder), Path("out"), onnx=True)
    session = onnxruntime.InferenceSession("out/model.onnx")
    with torch.inference_mode():
        for wave in WAVES:
            (logits,) = session.run(["logits"], {"wave": wave.numpy()[None]})
            np.testing.assert_allclose(logits, model([wave]), rtol=1e-3, atol=1e-4)


def test_what_cannot_be_exported_is_one_line(toy: Path) -> None:
    _, folder = made("full", head="bilstm")
    with pytest.raises(PipelineError, match="head must be pool"):
        export.main(folder, Path("out"), onnx=True)
    assert not Path("out").exists()
    export.main(folder, Path("out"))
    assert "AutoModel.from_pretrained" in Path("out/README.md").read_text()
    with pytest.raises(PipelineError, match="out: exists"):
        export.main(folder, Path("out"))
    shutil.rmtree(folder)
    with pytest.raises(PipelineError, match="expected a classifier with an encoder"):
        export.main(folder, Path("other"))
