"""finetune_cached: the linear method over the embeddings that `extract` wrote."""

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pipeline import folds, manifest, params
from pipeline.cli.preset import merged
from pipeline.errors import PipelineError
from pipeline.task import Example
from stages import encoder, extract, finetune_cached
from tests.speech import tone_clips

OVERLAY = """
corpora: [tones]
task: {classes: [angry, sad], merge: {}}
finetune: {methods: {linear: {pooling: mean, c: [0.1]}}}
"""


@pytest.fixture
def found(project: Path) -> list[Example]:
    text = merged(Path("params.yaml").read_text("utf-8"), OVERLAY)
    Path("params.yaml").write_text(text, "utf-8")
    params.read.cache_clear()
    made = tone_clips(30)
    manifest.write(manifest.CLIPS / "tones" / "manifest.csv", [e.clip for e in made])
    folds.write(folds.FOLDS, [{e.clip.clip: e.role for e in made}])
    encoder.main("fbank")
    extract.main("fbank", "tones")
    return made


def test_linear_is_scikit_learn_on_the_cached_means(found: list[Example]) -> None:
    finetune_cached.main("fbank", "linear", 0)
    with h5py.File("artifacts/embeddings/fbank/tones.h5") as file:
        means = dict(zip(file["clip"].asstr()[:], file["mean_last"][:], strict=True))
    inputs = np.stack([means[e.clip.clip] for e in found])
    roles, labels = (np.array([getattr(e, n) for e in found]) for n in ("role", "label"))
    train = roles == "train"
    scaled = (inputs - inputs[train].mean(0)) / inputs[train].std(0)
    peer = LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000)
    expected = peer.fit(scaled[train], labels[train]).predict_log_proba(scaled)
    at = {e.clip.utterance: row for row, e in enumerate(found)}
    with Path("artifacts/classifiers/fbank/linear/0/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == (~train).sum()
    for row in rows:
        got = [float(row["angry"]), float(row["sad"])]
        np.testing.assert_allclose(got, expected[at[row["utterance"]]], atol=1e-3)


def test_embeddings_that_are_not_there_are_named(found: list[Example]) -> None:
    with pytest.raises(PipelineError, match=r"embeddings/tiny/tones\.h5: no such file"):
        finetune_cached.main("tiny", "linear", 0)
