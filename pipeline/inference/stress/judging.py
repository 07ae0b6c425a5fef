"""A trained classifier on the clips of a fold, whatever it reads: waveforms, or embeddings.

Embeddings are those that `extract` keeps, computed once for all classifiers that read them: they
lie in its part of the scratch store.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.audio.flac import read_clip
from pipeline.corpora.manifest import Clip
from pipeline.embeddings.extraction import Job, Kept, Read
from pipeline.encoders import layout
from pipeline.ground import files
from pipeline.ground.progress import track
from pipeline.inference import judge
from pipeline.inference.judge import Floats
from pipeline.methods import features as cached
from pipeline.methods.features import Features


@dataclass(frozen=True)
class Classifier:
    """The columns of its outputs in ``predictions.csv``; what gives them, (clips, columns)."""

    columns: list[str]
    outputs: Callable[[Sequence[Clip]], Floats]


def embedded(folder: Path, kept: Kept, name: str, clips: Sequence[Clip]) -> Read | None:
    """Embed ``clips``, called ``name``, for the classifier in ``folder``, showing progress.

    What is returned reads them; None where it runs an encoder of its own.

    Raises:
        PipelineError: The encoder is missing, damaged, or another one; it hears no such clip.
    """
    if not (folder / cached.FILE).is_file():
        return None
    features = Features.read(folder)
    encoder = Path(features.encoder)
    layout.require_heard(encoder, clips)
    with files.unchanged(encoder / layout.WEIGHTS):
        judge.require_own(folder, features, encoder)
        job = Job.prepare(encoder, encoder.name, kept)
    job.complete(name, clips)
    return job.reader()


def load(folder: Path, read: Read | None) -> Classifier:
    """The classifier in ``folder``, a stage's output, on embeddings where it reads any.

    Raises:
        PipelineError: It is incomplete or damaged.
    """
    if read is None:
        found = judge.load(folder)

        def hear(clips: Sequence[Clip]) -> Floats:
            waves = (read_clip(clip.file, clip.sha256) for clip in clips)
            each = [found.logits([w]) for w in track(waves, str(folder), len(clips), "clips")]
            return np.concatenate(each)

        return Classifier(_columns(found.target, found.classes), hear)
    with judge.damage_told(folder):
        features = Features.read(folder)
        _, of_embeddings = judge.on_embeddings(folder, features)
    columns = _columns(features.target, features.classes)
    return Classifier(columns, lambda clips: of_embeddings(read(clips)))


def _columns(target: str, names: Sequence[str]) -> list[str]:
    return [f"predicted_{name}" for name in names] if target == "dimensions" else list(names)
