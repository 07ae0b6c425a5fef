"""Whether a system serves groups of speakers alike: gaps of recall and calibration, or of error.

Groups are by gender, language and corpus, as the manifest knows them; of ages it knows nothing. A
gap is that from the best group to the worst: of classes in recall and calibration, of dimensions in
concordance and absolute error. A permutation test over speakers says how often chance makes it as
large: genders and languages are permuted within each corpus where some corpus has several, so that
what corpora differ in is no evidence.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.corpora.manifest import Clip
from pipeline.ground import files
from pipeline.methods import calibration
from pipeline.metrics import permutation, resampling
from pipeline.metrics.arrays import Floats, Ints
from pipeline.scoring.evaluation import Classifier
from pipeline.scoring.scores import Bootstrap, Predictions, Scores, rounded
from pipeline.scoring.trust import measures, nested
from pipeline.scoring.trust.measures import Measure

ATTRIBUTES = ("gender", "language", "corpus")
# Nothing is told of fewer speakers in a group, or fewer ways to assign its names: p below 0.05
# would hardly be possible.
MIN_GROUP, MIN_ASSIGNMENTS = 4, 40
OF_CLASSES, OF_DIMENSIONS = ("uar", "ece"), ("ccc", "mae")
MEASURES = (*OF_CLASSES, *OF_DIMENSIONS)
_ENDS = {m: ("",) if m == "ece" else ("", "_low", "_high") for m in MEASURES}  # columns
_UNKNOWN = ("", "unknown")


@dataclass(frozen=True)
class Groups:
    """The speakers that an attribute divides, and their utterances.

    ``kept`` (all utterances) says which these are; ``who`` and ``group`` number the speaker and the
    group of each of them, ``of_speaker`` the group and ``corpus`` the corpus of each speaker.
    """

    names: list[str]
    kept: npt.NDArray[np.bool_]
    who: Ints
    group: Ints
    of_speaker: Ints
    corpus: Ints


# What is measured of an attribute's groups: what is told of it besides, and each measure.
Measured: TypeAlias = Callable[[Groups], tuple[Scores, dict[str, Measure]]]


def score(classifiers: Sequence[Classifier], clips: Sequence[Clip], bootstrap: Bootstrap) -> Scores:
    """Of each task, start, method and attribute what `of_attribute` says.

    p-values are adjusted for the number of gaps of one system (Holm).
    """
    made: Scores = {}
    known = {clip.utterance: clip for clip in clips}
    for c in classifiers:
        tested, measured = _measured(c)
        named = [known[one] for one in tested.utterance.tolist()]
        each = {
            attribute: of_attribute(attribute, named, tested, measured, bootstrap)
            for attribute in ATTRIBUTES
        }
        if found := _adjusted({name: one for name, one in each.items() if one}):
            made.setdefault(c.task, {}).setdefault(c.start, {})[c.method] = found
    return made


def _measured(c: Classifier) -> tuple[Predictions, Measured]:
    """The utterances that count, and what is measured of them."""
    if c.confidence is None:
        return c.tested, partial(_of_dimensions, c.tested)
    tested = c.tested.of(c.tested.truth >= 0)
    return tested, partial(_of_classes, tested, _confidence(c, tested), c.classes)


def _of_dimensions(tested: Predictions, found: Groups) -> tuple[Scores, dict[str, Measure]]:
    return {}, measures.of_dimensions(tested.of(found.kept), found.who)


def _of_classes(
    tested: Predictions, sure: Floats, classes: Sequence[str], found: Groups
) -> tuple[Scores, dict[str, Measure]]:
    """Recalls are of the classes that all groups have."""
    own, names = tested.of(found.kept), range(len(found.names))
    common = [
        c for c in range(len(classes)) if set(found.group[own.truth == c].tolist()) == set(names)
    ]
    each = measures.of_classes(own, sure[found.kept], found.who, common)
    return {"classes": [classes[c] for c in common]}, each


def of_attribute(
    attribute: str,
    clips: Sequence[Clip],
    tested: Predictions,
    measured: Measured,
    bootstrap: Bootstrap,
) -> Scores:
    """Each group's scores, the gaps, and their p where speakers suffice.

    Empty where there are not two groups, or languages that are corpora by another name.

    Args:
        attribute: One of `ATTRIBUTES`.
        clips: A clip of each utterance.
        tested: The utterances.
        measured: What is measured of them.
        bootstrap: Draws speakers of a group, and seeds the test.
    """
    found = _divided(attribute, clips, tested)
    if found is None:
        return {}
    # Of what corpora differ in, groups within each of them know nothing.
    strata = found.corpus if attribute != "corpus" else np.zeros_like(found.corpus)
    ways = permutation.assignments(found.of_speaker, strata)
    sizes = np.bincount(found.of_speaker)
    enough = sizes.min() >= MIN_GROUP and ways >= MIN_ASSIGNMENTS
    about, each = measured(found)
    told: Scores = {"speakers": len(found.of_speaker), "left_out": int((~found.kept).sum())}
    told |= about
    groups: dict[str, Scores] = {
        name: {"speakers": int(sizes[g]), "utterances": int((found.group == g).sum())}
        for g, name in enumerate(found.names)
    }
    for name, measure in each.items():
        gap = permutation.gap(found.of_speaker, strata, measure.of, bootstrap.seed)
        told |= rounded({f"{name}_gap": gap.gap, **({f"{name}_p": gap.p} if enough else {})})
        for g, group in enumerate(groups):
            groups[group] |= _group(name, measure, found.of_speaker == g, bootstrap)
    return {"groups": groups, **told, **({"exact": ways <= permutation.EXACT} if enough else {})}


def _divided(attribute: str, clips: Sequence[Clip], tested: Predictions) -> Groups | None:
    """The groups; speakers of an unknown one, or of several, and those without a name left out."""
    told = np.array([str(getattr(clip, attribute)) for clip in clips])
    kept = _settled(tested.speaker, told) & (tested.speaker != tested.corpus)
    own, told = tested.of(kept), told[kept]
    names, group = np.unique(told, return_inverse=True)
    if len(names) < 2 or (attribute == "language" and _alike(told, own.corpus)):
        return None
    _, first, who = np.unique(own.speaker, return_index=True, return_inverse=True)
    corpus = np.unique(own.corpus[first], return_inverse=True)[1]
    return Groups(names.tolist(), kept, who, group, group[first], corpus)


def headline(everything: Scores) -> Scores:
    """Each gap and its adjusted p, as lists: they make no column of `dvc exp show`.

    Where speakers are too few to tell, the gap alone.
    """
    return nested.of(everything, _short)


def _short(found: Mapping[str, Scores]) -> dict[str, list[float]]:
    keys = {m: (f"{m}_gap", f"{m}_p_adjusted") for m in MEASURES}
    return {
        f"{attribute}_{m}_gap_p": [one[key] for key in keys[m] if key in one]
        for attribute, one in found.items()
        for m in MEASURES
        if keys[m][0] in one
    }


def write_tables(folder: Path, everything: Scores) -> None:
    """Write ``fairness.csv``, a row for each system, attribute and group, where there are any.

    The gaps and their p stand in each row of an attribute.
    """
    each = [
        (name, attribute, one)
        for name, found in nested.each(everything)
        for attribute, one in found.items()
    ]
    used = [m for m in MEASURES if any(f"{m}_gap" in one for _, _, one in each)]
    columns = ["speakers", "utterances", *(f"{m}{end}" for m in used for end in _ENDS[m])]
    gaps = [f"{m}_{what}" for m in used for what in ("gap", "p", "p_adjusted")]
    rows = [
        [
            *name,
            attribute,
            group,
            *(own.get(c, "") for c in columns),
            *(one.get(g, "") for g in gaps),
        ]
        for name, attribute, one in each
        for group, own in one["groups"].items()
    ]
    if rows:
        header = ["task", "start", "method", "attribute", "group", *columns, *gaps]
        files.write_csv(folder / "fairness.csv", header, rows)


def _group(name: str, measure: Measure, own: npt.NDArray[np.bool_], bootstrap: Bootstrap) -> Scores:
    """The score of the speakers that are a group's own, and its interval over them."""
    told = {name: float(measure.of(own[None].astype(np.float64))[0])}
    drawn = bootstrap.weights(int(own.sum())) if measure.resampled else None
    if drawn is not None:
        weights = np.zeros((len(drawn), len(own)))
        weights[:, own] = drawn
        told[f"{name}_low"], told[f"{name}_high"] = resampling.interval(measure.of(weights))
    return rounded(told)


def _confidence(c: Classifier, tested: Predictions) -> Floats:
    """(utterances,) that in the answer: calibrated where each fold is."""
    known = c.confidence.temperatures if c.confidence else ()
    folds = dict.fromkeys(c.tested.fold.tolist())
    scales = dict(zip(folds, known or [1.0] * len(folds), strict=True))
    temperature = np.array([scales[fold] for fold in tested.fold.tolist()])[:, None]
    told: Floats = calibration.probabilities(tested.guess / temperature, 1.0).max(1)
    return told


def _settled(speakers: npt.NDArray[np.str_], told: npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    """The utterances whose speaker is of one known group."""
    of: dict[str, set[str]] = {}
    for speaker, value in zip(speakers.tolist(), told.tolist(), strict=True):
        of.setdefault(speaker, set()).add(value)
    sound = {speaker for speaker, values in of.items() if len(values) == 1}
    return np.isin(speakers, sorted(sound)) & ~np.isin(told, _UNKNOWN)


def _alike(one: npt.NDArray[np.str_], other: npt.NDArray[np.str_]) -> bool:
    """Whether two names divide the utterances in the same way."""
    pairs = set(zip(one.tolist(), other.tolist(), strict=True))
    return len(pairs) == len(set(one.tolist())) == len(set(other.tolist()))


def _adjusted(found: dict[str, Scores]) -> dict[str, Scores]:
    """The same with Holm's p-values beside the others."""
    places = [(name, m) for name, one in found.items() for m in MEASURES if f"{m}_p" in one]
    adjusted = permutation.holm([found[name][f"{m}_p"] for name, m in places])
    for (name, m), value in zip(places, adjusted, strict=True):
        found[name] |= rounded({f"{m}_p_adjusted": value})
    return found
