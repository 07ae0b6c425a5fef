"""`ser export`: one model of the hub that says the same, its card, and ONNX that says it too."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from ruamel.yaml import YAML
from transformers import AutoModelForAudioClassification

from pipeline.audio.segments import Cutting
from pipeline.cli import export, predict
from pipeline.corpora import manifest
from pipeline.encoders import encoder as encoders
from pipeline.encoders import forward, layout
from pipeline.ground import files, params, provenance
from pipeline.ground.code import ROOT
from pipeline.ground.errors import PipelineError
from pipeline.ground.provenance import Provenance
from pipeline.inference import passport
from pipeline.methods import classifier, preprocessing
from pipeline.methods.finetuning import LossParams
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


def made(
    method: str, style: dict[str, Any] = LARGE, **model: Any
) -> tuple[classifier.Classifier, Path]:
    found = trained(small_encoder(Path("artifacts/encoders/tiny"), **style), method, **model)
    folder = Path("artifacts/classifiers/emotion/pretrained") / method / "0"
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
    assert "classifier `emotion/pretrained/full/0`" in card
    assert card == Path("whole/README.md").read_text("utf-8")


def test_a_folder_that_names_nothing_has_no_fold(toy: Path) -> None:
    _, folder = made("full")
    (folder / "provenance.json").unlink()
    folder.rename("m")
    export.main(Path("m"), Path("out"))
    assert "classifier `tiny/full`" in Path("out/README.md").read_text("utf-8")


def test_a_shipped_encoder_is_no_published_one(toy: Path) -> None:
    """Such as the demo's: its weights lie in the repository, under no name of the hub."""
    _, folder = made("full")
    layout.Source(file="encoders/tiny/model.safetensors", sha256="0" * 64, licence="mit").write(
        Path("artifacts/encoders/tiny")
    )
    export.main(folder, Path("out"))
    told = passport.require(Path("out")).encoder
    assert (told.repository, told.file, told.sha256, told.licence) == ("", "", "", "mit")


AMS = LossParams(name="am-softmax", scale=30.0, margin=0.2)
# Each kind of head, on base and large encoders, by methods that export merges.
HEADS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "theirs": ("full", {}, {}),
    "theirs-weighted": ("lora-classifier", LARGE, {"layer": "weighted"}),
    "default": ("full", {}, {"layer": -2, "loss": AMS}),
    "first": ("frozen", LARGE, {"layer": -3, "batch_norm": True}),
    "top": ("lora-qkv", LARGE, {"layer": -1}),
    "top-base": ("lora-qkv", {}, {"layer": -1, "loss": AMS}),
    "weighted": ("frozen", LARGE, {"layer": "weighted", "loss": AMS}),
    "bilstm": ("full", LARGE, {"head": "bilstm", "loss": AMS}),
    "attentive": ("lora-qkv", LARGE, {"head": "attentive", "layer": -1}),
    "mean-max": ("frozen", {}, {"head": "mean-max", "layer": "weighted", "loss": AMS}),
}
CUT = Cutting(max_clip_s=0.5, last_clip="shorter", trim_db=30.0)
CUTTINGS = [CUT, CUT.model_copy(update={"last_clip": "overlapped", "trim_db": None}), None]


def exported(name: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, dict[str, float]]:
    """Make the model `out` of one of `HEADS`: the program on its card, and what `predict` says.

    The recording that the program names lies beside it.
    """
    method, style, model = HEADS[name]
    made_, folder = made(method, style, **model)
    cutting = CUTTINGS[len(name) % 3]
    if cutting:
        preprocessing.write(folder, cutting)
    if method != "full":
        covers = [{"coverage": 1.0, "confidence": 0.5, "accuracy": 0.5}]
        scale = {"temperature": 0.5, "utterances": 9, "covers": covers}
        files.write_json(folder / "calibration.json", scale)
    export.main(folder, Path("out"))
    rng = np.random.default_rng(0)
    envelope = np.repeat([0, 0.3, 0.1, 0.3, 0], 13_000)[:, None]
    soundfile.write("out/speech.wav", envelope * rng.standard_normal((65_000, 2)), 44_100)
    capsys.readouterr()
    for place in (folder, Path("out")):
        predict.main([Path("out/speech.wav")], str(place), as_json=True)
    expected, again = (
        json.loads(line)["probabilities"] for line in capsys.readouterr().out.splitlines()
    )
    assert again == pytest.approx(expected, abs=1e-5)
    assert list(expected) == made_.design.classes
    assert len({round(value, 2) for value in expected.values()}) > 1
    return Path("out/README.md").read_text().split("```python\n")[1].split("```")[0], expected


def require_said(printed: str, expected: dict[str, float]) -> None:
    told = {label: float(value) for label, value in map(str.split, printed.splitlines())}
    assert list(told) == list(expected)
    assert told == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize("name", HEADS)
def test_the_program_on_the_card_and_predict_say_what_the_classifier_says(
    toy: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pasted as it is, beside the recording that it names."""
    code, expected = exported(name, capsys)
    monkeypatch.chdir("out")
    exec(code, {})  # noqa: S102
    require_said(capsys.readouterr().out, expected)


def test_the_program_on_the_card_needs_nothing_that_this_process_has_loaded(
    toy: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """One of each kind, with and without a head of ours, in one process that does nothing else."""
    places, said = tmp_path_factory.mktemp("fresh"), []
    program = "import os\n"
    for name in ("theirs", "bilstm"):
        monkeypatch.chdir(shutil.copytree(toy, places / name))
        code, expected = exported(name, capsys)
        said.append(expected)
        program += f"os.chdir({str(places / name / 'out')!r})\nexec({code!r}, {{}})\nprint('-')\n"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    for printed, expected in zip(done.stdout.split("-\n"), [*said, {}], strict=True):
        require_said(printed, expected)


def test_the_card_names_data_licence_and_scores_and_counts_speakers(toy: Path) -> None:
    _, folder = made("full")
    export.main(folder, Path("before"))
    assert "None of this classifier" in Path("before/README.md").read_text()
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
    names = {clips[clip].speaker.split("/")[1] for clip in train}
    licence = "for research, after registration; the wording was not checked"
    assert f"| tones | {licence} | train | {len(train)} | {len(names)} |" in text
    assert not any(f" {name}" in text for name in names)
    assert "**not** speaker-independent: 12 test utterances of 7 speakers" in text
    assert "| UAR | 0.500 |" in text
    assert "0.400 to 0.625" in text
    assert "| EER" not in text


def tell(artefact: Path, inputs: dict[str, str]) -> None:
    """Let an artefact carry that it was made from these digests."""
    made = Provenance.of(artefact, [], []).model_copy(update={"inputs": inputs})
    made.model_copy(update={"seal": made.sealed()}).write(artefact)


def test_the_card_tells_of_the_classifiers_own_clips_and_scores_alone(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Others in their place are left out, and so are scores of another classifier."""
    _, folder = made("full")
    clips = Path("artifacts/clips/tones")
    files._write_sums(clips)
    folds_digest, clips_digest = (provenance.digest(path) for path in (folds.FOLDS, clips))
    inputs = {str(clips): clips_digest, str(folds.FOLDS): folds_digest}
    tell(folder, inputs)
    files._write_sums(folder)
    Path("results").mkdir()
    Path("results/scores.json").write_text(
        '{"protocol": {"speaker_independent": true, "by": "speaker", "folds": [0]},'
        '"emotion": {"pretrained": {"full": {"uar": 0.5, "utterances": 12, "speakers": 7}}}}'
    )
    tell(Path("results"), {str(folder): provenance.digest(folder)})
    Path("params.yaml").write_text(
        Path("params.yaml").read_text("utf-8").replace("\n- tones\n", "\n- emodb\n", 1), "utf-8"
    )
    params.read.cache_clear()
    capsys.readouterr()
    export.main(folder, Path("own"))
    text = Path("own/README.md").read_text()
    assert "| tones |" in text and "| UAR | 0.500 |" in text and "emodb" not in text
    assert capsys.readouterr().err == ""

    tell(Path("results"), {str(folder): "another"})
    export.main(folder, Path("other-scores"))
    text = Path("other-scores/README.md").read_text()
    assert "| tones |" in text and "None of this classifier" in text

    manifest.write(clips / "manifest.csv", manifest.read(["tones"])[:10])
    files._write_sums(clips)
    export.main(folder, Path("other-clips"))
    text = Path("other-clips/README.md").read_text()
    assert "Not known where this card was written" in text and "tones" not in text
    assert f"{clips}: not what {folder} learnt from" in capsys.readouterr().err


def test_the_card_names_what_its_encoder_heard_without_labels(toy: Path) -> None:
    """At any remove, and only where what lies there is what it was made from."""
    _, folder = made("full")
    first, second = Path("artifacts/encoders/first"), Path("artifacts/encoders/second")
    for encoder, inputs in (
        (first, {"artifacts/unlabelled/ravdess": "a", "artifacts/unlabelled/tess": "b"}),
        (second, {"artifacts/unlabelled/emodb": "c", str(first): ""}),
    ):
        shutil.copytree("artifacts/encoders/tiny", encoder)
        if str(first) in inputs:
            inputs[str(first)] = provenance.digest(first)
        tell(encoder, inputs)
        files._write_sums(encoder)
    tell(folder, {str(second): provenance.digest(second)})
    export.main(folder, Path("out"))
    text = Path("out/README.md").read_text()
    (line,) = [line for line in text.splitlines() if "pretrained without labels" in line]
    assert line.endswith(
        ": emodb (CC0 1.0); ravdess (CC BY-NC-SA 4.0: not for commercial use); tess (Creative "
        "Commons, not for commercial use; the variant was not checked)."
    )
    tell(second, {"artifacts/unlabelled/emodb": "c", str(first): "another"})
    files._write_sums(second)
    tell(folder, {str(second): provenance.digest(second)})
    export.main(folder, Path("of-another"))
    assert "on: emodb (CC0 1.0)." in Path("of-another/README.md").read_text()
    tell(folder, {str(second): "another"})
    export.main(folder, Path("unknown"))
    assert "without labels" not in Path("unknown/README.md").read_text()


def test_onnx_says_the_same_and_holds_no_path_of_this_machine(toy: Path) -> None:
    """By its name and those of its input and output alone, of waves that are normalised."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    base = small_encoder(toy / "artifacts/encoders/tiny", model_type="wavlm", **LARGE)
    model = trained(base, "lora-qkv", layer="weighted")
    model.encoder.do_normalize = True
    encoders.write_config(model.encoder, base)
    folder = Path("artifacts/classifiers/emotion/pretrained/lora-qkv/0")
    folder.parent.mkdir(parents=True)
    export.main(saved(model, folder), Path("out"), onnx=True)
    session = onnxruntime.InferenceSession("out/model.onnx")
    with torch.inference_mode():
        for wave in WAVES:
            (logits,) = session.run(["logits"], {"wave": wave.numpy()[None]})
            np.testing.assert_allclose(logits, model([wave]), rtol=1e-3, atol=1e-4)
    held = Path("out/model.onnx").read_bytes()
    assert b"projector" in held  # the names of its weights
    for path in (str(ROOT), str(Path(torch.__file__).parent), ".py"):
        assert path.encode() not in held


def test_what_cannot_be_exported_is_one_line(toy: Path) -> None:
    _, folder = made("full", head="bilstm")
    export.main(folder, Path("out"))
    with pytest.raises(PipelineError, match="out: exists"):
        export.main(folder, Path("out"))
    shutil.rmtree(folder)
    with pytest.raises(PipelineError, match="expected the folder of a classifier"):
        export.main(folder, Path("other"))
