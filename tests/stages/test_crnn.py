"""crnn: learns tones from cached frames, and resumes to the same bytes."""

import csv
from pathlib import Path

import pytest

from pipeline.embeddings.reader import Embeddings
from pipeline.ground.errors import PipelineError
from pipeline.ground.files import sha256
from pipeline.splits.task import Example
from pipeline.training.epoch import Epoch
from stages import crnn
from tests.speech import extracted_tones

OVERLAY = """
corpora: [tones]
task: {emotion: {classes: [angry, sad], merge: {}}}
crnn:
  features: [fbank]
  model: {channels: [4, 8], gru_width: 4}
  augmentation: {mask_frames: 4, mixup: 0.2}
  training: {epochs: 6, batch: 4, learning_rate: 1e-2}
"""
OUT = Path("artifacts/classifiers/emotion/fbank/crnn/0")


@pytest.fixture
def found(project: Path) -> list[Example]:
    return extracted_tones(OVERLAY, 40)


def test_it_learns_tones_and_resumes_to_the_same_bytes(
    found: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    crnn.main("emotion", "fbank", 0)
    with (OUT / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["role"] == "test"]
    right = sum((float(r["angry"]) > float(r["sad"])) == (r["label"] == "angry") for r in rows)
    assert len(rows) == 8
    assert right == 8
    whole = {path.name: sha256(path) for path in OUT.iterdir()}

    real = Epoch.run

    def killed(epoch: Epoch) -> dict[str, float]:
        if epoch.number == 4:
            raise KeyboardInterrupt
        return real(epoch)

    with monkeypatch.context() as patch:
        patch.setattr(Epoch, "run", killed)
        with pytest.raises(KeyboardInterrupt):
            crnn.main("emotion", "fbank", 0)
    crnn.main("emotion", "fbank", 0)
    assert {path.name: sha256(path) for path in OUT.iterdir()} == whole


def test_a_vector_a_clip_has_no_frames_to_read(
    found: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Embeddings, "hop_s", 0.0)
    with pytest.raises(PipelineError, match=r"crnn\.features has 'fbank', which makes one vector"):
        crnn.main("emotion", "fbank", 0)
