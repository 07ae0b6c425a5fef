"""Probes of layers against scikit-learn used directly, and the map of clips."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

from pipeline.embeddings import reader, writer
from pipeline.encoders.layers import Layer
from pipeline.scoring import probes
from pipeline.splits.task import Example
from tests import ratings
from tests.speech import tone_clips

Means = dict[Layer, Any]
STRENGTHS = (0.01, 1.0)


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Example]:
    monkeypatch.chdir(tmp_path)
    return tone_clips(60)


@pytest.fixture
def means(found: list[Example]) -> Means:
    """Layers that tell more the higher they are, (clips, 6) each."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(len(found), 6))
    signal = np.array([[e.label] * 3 + [0] * 3 for e in found])
    return {
        layer: (noise + skill * signal).astype(np.float32)
        for layer, skill in ((-3, 0.0), (-2, 1.0), (-1, 5.0))
    }


def opened(found: list[Example], means: Means) -> reader.Embeddings:
    header = replace(ratings.HEADER, blocks=2, width=6, frames=(), means=tuple(means))
    names = [example.clip.clip for example in found]
    path = Path("embeddings.h5")
    with writer.write(path, header, names, 0) as rows:
        for row, name in enumerate(names):
            one = {layer: values[row] for layer, values in means.items()}
            rows.append(reader.Embedding(0, {}, one), name)
    return reader.Embeddings(path)


def test_each_layer_is_what_scikit_learn_makes_of_it(found: list[Example], means: Means) -> None:
    with opened(found, means) as file:
        probed = probes.by_layer([file], found, STRENGTHS, fold=3)
    labels = np.array([e.label for e in found])
    train, dev, test = (np.array([e.role == r for e in found]) for r in ("train", "dev", "test"))
    for one, (layer, values) in zip(probed, means.items(), strict=True):
        scaled = StandardScaler().fit(values[train]).transform(values)
        models = [
            LogisticRegression(C=c, class_weight="balanced").fit(scaled[train], labels[train])
            for c in STRENGTHS
        ]
        uars = [
            [balanced_accuracy_score(labels[r], m.predict(scaled[r])) for r in (dev, test)]
            for m in models
        ]
        best = max(uars, key=lambda pair: pair[0])
        assert (one.layer, one.fold) == (str(layer), 3)
        assert [one.dev_uar, one.test_uar] == pytest.approx(best)
    assert probed[-1].test_uar > 0.9 > probed[0].test_uar


def test_only_the_score_on_test_notices_test_labels(found: list[Example], means: Means) -> None:
    other = [replace(e, label=1 - e.label) if e.role == "test" else e for e in found]
    with opened(found, means) as file:
        before, after = (probes.by_layer([file], f, STRENGTHS, 0) for f in (found, other))
    assert [one.dev_uar for one in after] == [one.dev_uar for one in before]
    assert after[-1].test_uar == pytest.approx(1 - before[-1].test_uar)


def test_clips_that_are_alike_lie_together_and_the_map_is_reproducible(
    found: list[Example], means: Means
) -> None:
    names = [example.clip.clip for example in found]
    means[-1][:, 0] *= 20
    with opened(found, means) as file:
        placed, again = (probes.places([file], names, -1, 50, seed=1) for _ in range(2))
    assert len(placed) == 50
    assert all(np.array_equal(placed[name], again[name]) for name in placed)
    at = np.array(list(placed.values()))
    labels = np.array([e.label for e in found if e.clip.clip in placed])
    centres = np.stack([at[labels == label].mean(0) for label in (0, 1)])
    nearest = np.linalg.norm(at[:, None] - centres, axis=2).argmin(1)
    assert (nearest == labels).mean() > 0.9


def test_too_few_clips_have_no_map(found: list[Example], means: Means) -> None:
    with opened(found, means) as file:
        assert probes.places([file], [found[0].clip.clip], -1, 50, seed=1) == {}
