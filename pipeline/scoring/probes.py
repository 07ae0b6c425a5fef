"""What a layer's means tell: UAR of logistic regression by layer, and a map of the clips.

A probe is fitted on the train role, its strength chosen on dev, as any classifier
(`pipeline.methods.linear`); its UAR is over clips. A layer is to be chosen by ``dev_uar``;
``test_uar`` shows how well that choice carries over. The map is t-SNE of all clips without their
labels: a picture that no score depends on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.embeddings.reader import Embeddings
from pipeline.encoders.layers import Layer
from pipeline.ground import files
from pipeline.methods import linear
from pipeline.splits.task import Example

Floats = npt.NDArray[np.float32]

COMPONENTS = 50  # principal ones that t-SNE starts from, as its authors do
PERPLEXITY = 30.0


@dataclass(frozen=True)
class Probe:
    """One layer on one fold; ``depth`` counts from the bottom, 0 enters the first block.

    ``layer`` is as in ``params.yaml``; UARs are over clips, NaN where the role is empty.
    """

    layer: str
    depth: int
    fold: int
    dev_uar: float
    test_uar: float


def by_layer(
    corpora: Sequence[Embeddings],
    found: Sequence[Example],
    strengths: Sequence[float],
    fold: int,
) -> list[Probe]:
    """Probe every layer whose means are kept, from bottom to top."""
    from sklearn.metrics import balanced_accuracy_score

    labels = np.array([example.label for example in found])
    roles = np.array([example.role for example in found])
    probed = []
    for depth, layer in enumerate(corpora[0].header.means):
        vectors = linear.vectors(corpora, layer, found, deviation=False)
        model = linear.fit("logistic", "emotion", found, vectors, strengths)
        uars = [
            balanced_accuracy_score(labels[rows], model.predict(vectors[rows]))
            if rows.any()
            else float("nan")
            for rows in (roles == "dev", roles == "test")
        ]
        probed.append(Probe(str(layer), depth, fold, *map(float, uars)))
    return probed


def places(
    corpora: Sequence[Embeddings], clips: Sequence[str], layer: Layer, most: int, seed: int
) -> Mapping[str, Floats]:
    """Where t-SNE puts at most ``most`` of the clips, drawn by ``seed``: (2,) each."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(seed)
    drawn = set(rng.permutation(sorted(clips))[:most].tolist())
    by_clip = {
        clip: mean
        for embeddings in corpora
        for clip, mean in zip(embeddings.clips, embeddings.means(layer), strict=True)
        if clip in drawn
    }
    if len(by_clip) < 4:
        return {}
    values = StandardScaler().fit_transform(np.stack(list(by_clip.values())))
    kept = min(COMPONENTS, *values.shape)
    values = PCA(kept, svd_solver="full").fit_transform(values)
    perplexity = min(PERPLEXITY, (len(values) - 1) / 3)
    map_ = TSNE(perplexity=perplexity, init="pca", random_state=seed % 2**32)
    return dict(zip(by_clip, map_.fit_transform(values).astype(np.float32), strict=True))


def write_layers(folder: Path, probed: Sequence[Probe]) -> None:
    """Write ``layers.csv``, a row for each fold and layer."""
    header = [field.name for field in fields(Probe)]
    rows = [[_shown(value) for value in asdict(one).values()] for one in probed]
    files.write_csv(folder / "layers.csv", header, rows)


def write_places(folder: Path, found: Mapping[str, Floats]) -> None:
    """Write ``places.csv``, a row for each clip drawn."""
    rows = [[clip, f"{x:.4g}", f"{y:.4g}"] for clip, (x, y) in sorted(found.items())]
    files.write_csv(folder / "places.csv", ["clip", "x", "y"], rows)


def _shown(value: object) -> object:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.4f}"
    return value
