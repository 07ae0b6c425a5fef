"""Whether what lies in the project is what a classifier learnt from, and what its scores are of.

A card that told of other clips than the classifier's own, or of another classifier's scores, would
be believed. Both are compared by digests, wherever the classifier's folder was copied.
"""

from collections.abc import Mapping
from pathlib import Path

from pipeline.corpora import manifest
from pipeline.ground import provenance
from pipeline.splits import folds


def strangers(folder: Path) -> list[str]:
    """The clips and folds here that are not those which the classifier in ``folder`` learnt from.

    What carries no provenance says nothing against any.
    """
    inputs = _inputs(folder)
    read = [name for name in inputs if Path(name).parent == manifest.CLIPS]
    read += [str(folds.FOLDS)] if str(folds.FOLDS) in inputs else []
    return [name for name in read if provenance.digest(Path(name)) != inputs[name]]


def corpora(folder: Path) -> list[str]:
    """Those which the classifier learnt from; none where that is not known."""
    return [Path(name).name for name in _inputs(folder) if Path(name).parent == manifest.CLIPS]


def heard(artefact: Path) -> set[str]:
    """The corpora that its encoder was pretrained on, as far as what led to it still lies here.

    Whole corpora alone: the clips of a fold (``own``) are among those it was trained on.
    """
    found = set()
    for name, told in _inputs(artefact).items():
        path = Path(name)
        if path.parent == manifest.UNLABELLED:
            found.add(path.name)
        elif path.is_relative_to(manifest.ARTIFACTS) and provenance.digest(path) == told:
            found |= heard(path)
    return found


def is_scored(folder: Path, name: str, results: Path) -> bool:
    """Whether the scores in ``results`` are of the classifier that lies in ``folder``.

    Args:
        name: Its task, start, method and fold, such as ``emotion/pretrained/full/0``.
    """
    inputs = _inputs(results)
    told = inputs.get(str(manifest.ARTIFACTS / "classifiers" / name))
    return told == provenance.digest(folder) if inputs else True


def _inputs(artefact: Path) -> Mapping[str, str]:
    made = provenance.carried(artefact)
    return made.inputs if made else {}
