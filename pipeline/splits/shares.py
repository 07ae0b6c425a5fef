"""Emotion shares: which clips take part, and the predictions for them.

Stands between the manifests with their ``share_<emotion>`` columns and the regressors of
`pipeline.methods.networks.regression`, and writes what `evaluate` reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.corpora.manifest import Clip
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.ground.progress import say

Shares = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sample:
    """A clip that takes part: its role, and its shares in the order of the emotions.

    A share is NaN where the corpus gives none, as on a challenge's masked test set.
    """

    clip: Clip
    role: str
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Rated:
    """What takes part in a fold: the emotions, sorted, and the samples."""

    emotions: list[str]
    samples: list[Sample]

    def of_role(self, *roles: str) -> list[Sample]:
        """The samples of some roles."""
        return [sample for sample in self.samples if sample.role in roles]

    def digest(self) -> str:
        """A digest of the samples: their audio, roles and shares."""
        rows = [(s.clip.clip, s.clip.sha256, s.role, s.shares) for s in self.samples]
        return files.digest([self.emotions, rows])


def rated(clips: Sequence[Clip], roles: dict[str, str]) -> Rated:
    """Find the emotions that training clips have shares of, and the clips that take part.

    A test clip without shares takes part where its corpus has shares on others: it is predicted
    and not scored. Every other clip without shares is skipped, and counted in the log.

    Raises:
        PipelineError: No training clip has shares.
    """
    heard = [clip for clip in clips if clip.clip in roles]
    emotions = sorted({e for c in heard if roles[c.clip] == "train" for e in c.shares})
    if not emotions:
        raise PipelineError(
            "params.yaml: share.features is not empty, but no training clip has emotion shares, "
            "set share.features to [] or add a corpus with share_<emotion> columns to corpora"
        )
    sources = {clip.corpus for clip in heard if clip.shares}
    found = [
        Sample(c, roles[c.clip], tuple(c.shares.get(e, np.nan) for e in emotions))
        for c in heard
        if c.shares or (roles[c.clip] == "test" and c.corpus in sources)
    ]
    if len(found) < len(heard):
        say(f"share: {len(heard) - len(found)} of {len(heard)} clips have no shares, skipped")
    return Rated(emotions, found)


def write(out: Path, emotions: Sequence[str], found: Sequence[Sample], predicted: Shares) -> None:
    """Write ``predictions.csv`` and, where shares are masked, ``submission.csv`` into ``out``.

    Args:
        out: An existing folder (the caller publishes it).
        emotions: What the columns are.
        found: The predicted samples.
        predicted: (samples, emotions), in the order of ``found``. An utterance's prediction is the
            mean of its clips'.
    """
    rows: dict[str, list[int]] = {}
    for row, sample in enumerate(found):
        rows.setdefault(sample.clip.utterance, []).append(row)
    utterances = [
        (found[rows[name][0]], predicted[rows[name]].mean(0, dtype=np.float64))
        for name in sorted(rows)
    ]
    columns = _columns(emotions, "true", "predicted")
    header, table = ["utterance", "corpus", "speaker", "role", *columns], []
    for sample, values in utterances:
        pairs = zip(_texts(sample.shares), _texts(values), strict=True)
        clip = sample.clip
        known = [clip.utterance, clip.corpus, clip.speaker, sample.role]
        table.append([*known, *(text for pair in pairs for text in pair)])
    files.write_csv(out / "predictions.csv", header, table)
    masked = [(s, values) for s, values in utterances if np.isnan(s.shares).all()]
    if masked:
        # The form of the ComParE 2023 challenge's own label files.
        header = ["filename", *(emotion.capitalize() for emotion in emotions)]
        submitted = ([Path(s.clip.source).name, *_texts(values)] for s, values in masked)
        files.write_csv(out / "submission.csv", header, submitted)


def _columns(emotions: Sequence[str], *kinds: str) -> list[str]:
    return [f"{kind}_{emotion}" for emotion in emotions for kind in kinds]


def _texts(values: Sequence[float] | npt.NDArray[np.float64]) -> list[str]:
    return ["" if np.isnan(value) else f"{value:.9g}" for value in values]
