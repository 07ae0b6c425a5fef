"""The report's section on fairness: does it matter whose voice it is?

Shows what `pipeline.scoring.trust.fairness` measured.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.report.page import Section, Table, interval
from pipeline.scoring.evaluation import Run
from pipeline.scoring.scores import Scores
from pipeline.scoring.trained_on import marked
from pipeline.scoring.trust import nested
from pipeline.scoring.trust.fairness import (
    MIN_ASSIGNMENTS,
    MIN_GROUP,
    OF_CLASSES,
    OF_DIMENSIONS,
)

TOO_FEW = "too few speakers to tell"
NOTES = (
    "Recall (UAR, over the classes that all groups have) and calibration (ECE, of the calibrated "
    "confidence where each fold has a dev), of dimensions concordance (CCC) and absolute error "
    "(MAE), both means over the dimensions, by gender, language and corpus of the speaker; the "
    "corpora say nothing of ages. A gap is that from the best group to the worst. p: how often "
    "chance makes it as large, by a permutation of the groups' names over speakers, within each "
    "corpus where that is what is asked; all permutations where they are few, else 20,000. "
    "Adjusted: for all gaps of one classifier, after Holm; not for there being several "
    "classifiers.",
    "A large p is no proof of fairness: with few speakers only large gaps can be told from chance. "
    f"Below {MIN_GROUP} speakers in a group, or {MIN_ASSIGNMENTS} ways to assign them, they are "
    f"{TOO_FEW}. Languages that are corpora by another name are not shown twice. A group whose "
    "ratings vary less has a lower CCC for the same error: read it beside MAE.",
)


def section(run: Run, _plots: Path) -> Section | None:
    """Each system's groups and gaps; None where speakers are all of one kind."""
    each = [
        (marked(f"{task} {start} {method}", run.protocol, (start, method)), attribute, one)
        for (task, start, method), found in nested.each(run.trust.get("fairness", {}))
        for attribute, one in found.items()
    ]
    tables = [*_tables(each, OF_CLASSES), *_tables(each, OF_DIMENSIONS)]
    return Section("Fairness", NOTES, tables) if tables else None


def _tables(each: Sequence[tuple[str, str, Scores]], measures: tuple[str, str]) -> list[Table]:
    """The gaps, and the groups, of the systems that are measured so."""
    own = [found for found in each if f"{measures[1]}_gap" in found[2]]
    if not own:
        return []
    gaps = [[name, by, *_gaps(one, measures), _rests_on(one)] for name, by, one in own]
    groups = [
        [name, group, *_group(told, measures)]
        for name, _, one in own
        for group, told in one["groups"].items()
    ]
    of = [m.upper() for m in measures]
    header = ["task, start, method", "by", *(x for m in of for x in (f"{m} gap", "p", "adjusted"))]
    by_group = ["task, start, method", "group"]
    by_group += [x for m in measures for x in (m.upper(), "95\u00a0%")[: 1 if m == "ece" else 2]]
    by_group += ["utterances", "speakers"]
    return [Table([*header, "rests on"], gaps), Table(by_group, groups, "By group")]


def _gaps(one: Scores, measures: Sequence[str]) -> list[object]:
    told: list[object] = []
    for m in measures:
        told += [one.get(f"{m}_gap"), one.get(f"{m}_p", TOO_FEW), one.get(f"{m}_p_adjusted")]
    return told


def _rests_on(one: Scores) -> str:
    """How many speakers of each group."""
    counts = [f"{own['speakers']} {name}" for name, own in one["groups"].items()]
    out = f", {one['left_out']} utterances left out" if one["left_out"] else ""
    return f"{', '.join(counts)} speakers{out}"


def _group(own: Mapping[str, object], measures: Sequence[str]) -> list[object]:
    told: list[object] = []
    for m in measures:
        told += [own.get(m)] if m == "ece" else [own.get(m), interval(own, m)]
    return [*told, own["utterances"], own["speakers"]]
