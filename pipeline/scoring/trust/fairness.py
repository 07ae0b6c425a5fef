"""Whether a classifier serves groups of speakers alike: gaps of recall and of calibration.

Groups are by gender, language and corpus, as the manifest knows them; of ages it knows nothing. A
gap is that from the best group to the worst. A permutation test over speakers says how often chance
makes it as large: genders and languages are permuted within each corpus where some corpus has
several, so that what corpora differ in is no evidence.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.corpora.manifest import Clip
from pipeline.ground import files
from pipeline.methods import calibration
from pipeline.metrics import permutation, resampling
from pipeline.metrics.arrays import Floats, Ints, mean, ratio
from pipeline.metrics.calibration import reliability
from pipeline.scoring.evaluation import Classifier
from pipeline.scoring.scores import Bootstrap, Predictions, Scores, rounded
from pipeline.scoring.trust import nested

ATTRIBUTES = ("gender", "language", "corpus")
# Nothing is told of fewer speakers in a group, or fewer ways to assign its names: p below 0.05
# would hardly be possible.
MIN_GROUP, MIN_ASSIGNMENTS = 4, 40
MEASURES = ("uar", "ece")
_UNKNOWN = ("", "unknown")


def score(classifiers: Sequence[Classifier], clips: Sequence[Clip], bootstrap: Bootstrap) -> Scores:
    """Of each task, start, method and attribute what `of_attribute` says; of classes alone.

    p-values are adjusted for the number of gaps of one classifier (Holm).
    """
    made: Scores = {}
    known = {clip.utterance: clip for clip in clips}
    for c in classifiers:
        if c.confidence is None:
            continue
        tested = c.tested.of(c.tested.truth >= 0)
        sure, named = _confidence(c, tested), [known[one] for one in tested.utterance.tolist()]
        each = {
            attribute: of_attribute(attribute, named, tested, sure, c.classes, bootstrap)
            for attribute in ATTRIBUTES
        }
        if found := _adjusted({name: one for name, one in each.items() if one}):
            made.setdefault(c.task, {}).setdefault(c.start, {})[c.method] = found
    return made


def of_attribute(
    attribute: str,
    clips: Sequence[Clip],
    tested: Predictions,
    sure: Floats,
    classes: Sequence[str],
    bootstrap: Bootstrap,
) -> Scores:
    """Each group's recall and calibration error, both gaps, and their p where speakers suffice.

    Recalls are of the classes that all groups have. Speakers of an unknown group, or of several,
    are left out, and those without a name. Empty where there are not two groups, or languages
    that are corpora by another name.

    Args:
        attribute: One of `ATTRIBUTES`.
        clips: A clip of each utterance.
        tested: The utterances, whose truth is known.
        sure: (utterances,) the confidence in what was answered.
        classes: Names of the truth.
        bootstrap: Draws speakers of a group, and seeds the test.
    """
    told = np.array([str(getattr(clip, attribute)) for clip in clips])
    kept = _settled(tested.speaker, told) & (tested.speaker != tested.corpus)
    own, told, sure = tested.of(kept), told[kept], sure[kept]
    names, group = np.unique(told, return_inverse=True)
    if len(names) < 2 or (attribute == "language" and _alike(told, own.corpus)):
        return {}
    common = [c for c in range(len(classes)) if len(set(group[own.truth == c])) == len(names)]
    speakers, first, who = np.unique(own.speaker, return_index=True, return_inverse=True)
    of_speaker = group[first]
    # Of what corpora differ in, groups within each of them know nothing.
    strata = np.unique(own.corpus[first], return_inverse=True)[1]
    strata = strata if attribute != "corpus" else np.zeros_like(strata)
    ways = permutation.assignments(of_speaker, strata)
    sizes = np.bincount(of_speaker)
    enough = sizes.min() >= MIN_GROUP and ways >= MIN_ASSIGNMENTS
    found: Scores = {"speakers": len(speakers), "left_out": int((~kept).sum())}
    found["classes"] = [classes[c] for c in common]
    groups: dict[str, Scores] = {
        name: {"speakers": int(sizes[g]), "utterances": int((group == g).sum())}
        for g, name in enumerate(names.tolist())
    }
    for measure, (sums, formula) in _measures(own, sure, who, common).items():
        gap = permutation.gap(of_speaker, strata, sums, formula, bootstrap.seed)
        found |= rounded({f"{measure}_gap": gap.gap, **({f"{measure}_p": gap.p} if enough else {})})
        for g, name in enumerate(groups):
            groups[name] |= _group(measure, sums[of_speaker == g], formula, bootstrap)
    return {"groups": groups, **found, **({"exact": ways <= permutation.EXACT} if enough else {})}


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
    """Write ``fairness.csv``, a row for each classifier, attribute and group, where there are any.

    The gaps and their p stand in each row of an attribute.
    """
    columns = ["speakers", "utterances", "uar", "uar_low", "uar_high", "ece"]
    gaps = [f"{m}_{what}" for m in MEASURES for what in ("gap", "p", "p_adjusted")]
    rows = [
        [
            *name,
            attribute,
            group,
            *(own.get(c, "") for c in columns),
            *(one.get(g, "") for g in gaps),
        ]
        for name, found in nested.each(everything)
        for attribute, one in found.items()
        for group, own in one["groups"].items()
    ]
    if rows:
        header = ["task", "start", "method", "attribute", "group", *columns, *gaps]
        files.write_csv(folder / "fairness.csv", header, rows)


def _measures(
    tested: Predictions, sure: Floats, who: Ints, common: Sequence[int]
) -> dict[str, tuple[Floats, permutation.Score]]:
    """What each speaker adds to the sums that a measure is made of, and its formula."""
    right = tested.guess.argmax(1) == tested.truth
    hits, totals, gaps, counts = [], [], [], []
    for speaker in range(who.max() + 1):
        own = who == speaker
        truth = tested.truth[own]
        totals.append([(truth == c).sum() for c in common])
        hits.append([(truth[right[own]] == c).sum() for c in common])
        told = reliability(sure[own], right[own])
        gaps.append(np.nan_to_num(told.counts * (told.accuracy - told.confidence)))
        counts.append([own.sum()])
    errors = np.concatenate([gaps, counts], 1).astype(np.float64)
    found: dict[str, tuple[Floats, permutation.Score]] = {"ece": (errors, _ece)}
    if common:
        recall = np.concatenate([hits, totals], 1).astype(np.float64)
        found = {"uar": (recall, _uar), **found}
    return found


def _uar(sums: Floats) -> Floats:
    hits, totals = np.split(sums, 2, -1)
    return mean(ratio(hits, totals))


def _ece(sums: Floats) -> Floats:
    return ratio(np.abs(sums[..., :-1]).sum(-1), sums[..., -1])


def _group(measure: str, sums: Floats, formula: permutation.Score, bootstrap: Bootstrap) -> Scores:
    """A group's score; of recall, which resampling does not bias, an interval over its speakers."""
    told = {measure: float(formula(sums.sum(0)))}
    weights = bootstrap.weights(len(sums)) if measure == "uar" else None
    if weights is not None:
        low, high = resampling.interval(formula(weights @ sums))
        told |= {f"{measure}_low": low, f"{measure}_high": high}
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
