"""Nothing fitted sees a test speaker: other test audio and labels, the same trained bytes.

Every stage that fits runs twice on small data, with more than one epoch where the best is chosen:
those of GMP-ATL, the classifiers, the regressors of shares and the probes. In the second run every
test clip is another recording with another label and other shares; what was trained, and what was
scored on dev, must not have noticed.
"""

import hashlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.audio.flac import write_flac
from pipeline.cli.preset import merged
from pipeline.corpora import manifest
from pipeline.ground import params
from pipeline.ground.files import SUMS
from pipeline.ground.provenance import FILE
from pipeline.splits import folds
from pipeline.splits.task import Example
from stages import (
    cluster,
    crnn,
    extract,
    finetune,
    finetune_cached,
    multitask,
    networks,
    probe,
    retrain,
)
from tests.conftest import settings
from tests.speech import small_encoder, tone_clips

OVERLAY = """
corpora: [tones]
pretrained: tiny
task: {emotion: {classes: [angry, sad], merge: {}}, share: {emotions: [Anger, Joy]}}
multitask: {epochs: 2}
cluster: {scales: [4, 8], sample: 400}
retrain: {epochs: 1}
finetune: {model: {layer: last}, training: {epochs: 2}}
folds: [0]
networks: {model: {conv: [4]}, training: {epochs: 2}}
crnn: {training: {epochs: 2}}
"""


def prepare(found: list[Example]) -> None:
    manifest.write(manifest.CLIPS / "tones" / "manifest.csv", [e.clip for e in found])
    folds.write(folds.FOLDS, [{e.clip.clip: e.role for e in found}])


def other_test_clips(found: list[Example]) -> list[Example]:
    rng = np.random.default_rng(77)
    changed = []
    for example in found:
        clip = example.clip
        if example.role == "test":
            noise = rng.standard_normal(round(clip.duration_s * 16000), np.float32) / np.float32(8)
            emotion = "sad" if clip.emotion == "angry" else "angry"
            shares = {name: 1 - share for name, share in clip.shares.items()}
            sha256 = write_flac(clip.file, noise)
            clip = replace(clip, sha256=sha256, emotion=emotion, shares=shares)
        changed.append(replace(example, clip=clip))
    return changed


def run_stages() -> None:
    multitask.main(0)
    extract.main(fold=0)
    cluster.main(0)
    retrain.main(0)
    finetune.main("emotion", "retrained", "full", 0)
    finetune.main("emotion", "pretrained", "lora-qkv", 0)
    extract.main(encoder="tiny", corpus="tones")
    finetune_cached.main("emotion", "tiny", "linear", 0)
    finetune_cached.main("emotion", "tiny", "frozen", 0)
    probe.main("emotion", "tiny")
    networks.main("share", "tiny", "cnn-lstm", 0)
    crnn.main("emotion", "tiny", 0)


def digests() -> dict[str, str]:
    """Of everything that was trained or fitted, and of the scores on dev."""
    found = {}
    for path in sorted(Path("artifacts").rglob("*")):
        name = str(path)
        # Embeddings are of every clip, and provenance says so; the map of clips is a picture of
        # them, without labels.
        about_all = ("clips/", "artifacts/embeddings/", "folds.csv", "places.csv", SUMS, FILE)
        if path.is_file() and not any(part in name for part in about_all):
            content = path.read_bytes()
            if path.name == "predictions.csv":
                content = b"\n".join(r for r in content.splitlines() if b",test," not in r)
            if path.name == "layers.csv":
                content = b"\n".join(r.rpartition(b",")[0] for r in content.splitlines())
            found[name] = hashlib.sha256(content).hexdigest()
    return found


@dataclass(frozen=True)
class Run:
    """What the stages made of clips, and its digests."""

    project: Path
    clips: list[Example]
    digests: dict[str, str]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The first run, which is the same for both tests."""
    project = tmp_path_factory.mktemp("first")
    (project / "params.yaml").write_text(merged(settings(), OVERLAY), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        patch.setenv("SER_SCRATCH", ".scratch")
        params.read.cache_clear()
        small_encoder(Path("artifacts/encoders/tiny"), num_hidden_layers=3)
        made = [
            replace(e, clip=replace(e.clip, shares={"Anger": e.label / 2, "Joy": number / 30}))
            for number, e in enumerate(tone_clips(30))
        ]
        prepare(made)
        run_stages()
        return Run(project, made, digests())


@pytest.fixture
def again(first: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """It, in a copy of its project as the working directory."""
    monkeypatch.chdir(shutil.copytree(first.project, tmp_path / "again"))
    monkeypatch.setenv("SER_SCRATCH", ".scratch")
    params.read.cache_clear()
    return first


def test_other_test_clips_change_nothing_that_was_fitted(again: Run) -> None:
    before = again.digests
    prepare(other_test_clips(again.clips))
    run_stages()
    assert digests() == before
    kinds = ("multitask/0/model", "frames/0.h5", "units/0/codebooks", "retrained/0/model")
    heads = ("full/0/model", "lora-qkv/0/adapter_model", "frozen/0/head", "linear/0/model")
    others = ("crnn/0/model", "share/tiny/cnn-lstm", "probes/emotion/tiny/layers.csv")
    for kind in (*kinds, *heads, *others):
        assert any(kind in name for name in before), kind


def test_other_training_clips_change_all_of_it(again: Run) -> None:
    """The check above can fail: the same change to training clips is noticed everywhere."""
    before = again.digests
    swapped = {"test": "train", "train": "test", "dev": "dev"}
    changed = other_test_clips([replace(e, role=swapped[e.role]) for e in again.clips])
    prepare([replace(e, role=swapped[e.role]) for e in changed])
    run_stages()
    after = digests()
    for name in before:
        if name.endswith((".safetensors", ".h5")) and "encoders/" not in name:
            assert after[name] != before[name], name
