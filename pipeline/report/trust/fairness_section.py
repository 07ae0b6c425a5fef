"""The report's section on fairness: does it matter whose voice it is?

Shows what `pipeline.scoring.trust.fairness` measured.
"""

from collections.abc import Mapping
from pathlib import Path

from pipeline.report.page import Section, Table, interval
from pipeline.scoring.evaluation import Run
from pipeline.scoring.scores import Scores
from pipeline.scoring.trained_on import marked
from pipeline.scoring.trust import nested
from pipeline.scoring.trust.fairness import MIN_ASSIGNMENTS, MIN_GROUP

TOO_FEW = "too few speakers to tell"
NOTES = (
    "Recall (UAR, over the classes that all groups have) and calibration (ECE, of the calibrated "
    "confidence where each fold has a dev) by gender, language and corpus of the speaker; the "
    "corpora say nothing of ages. A gap is that from the best group to the worst. p: how often "
    "chance makes it as large, by a permutation of the groups' names over speakers, within each "
    "corpus where that is what is asked; all permutations where they are few, else 20,000. "
    "Adjusted: for all gaps of one classifier, after Holm; not for there being several "
    "classifiers.",
    "A large p is no proof of fairness: with few speakers only large gaps can be told from chance. "
    f"Below {MIN_GROUP} speakers in a group, or {MIN_ASSIGNMENTS} ways to assign them, they are "
    f"{TOO_FEW}. Languages that are corpora by another name are not shown twice.",
)


def section(run: Run, _plots: Path) -> Section | None:
    """Each classifier's groups and gaps; None where speakers are all of one kind."""
    everything = run.trust.get("fairness", {})
    groups, gaps = [], []
    for (task, start, method), found in nested.each(everything):
        name = marked(f"{task} {start} {method}", run.protocol, (start, method))
        for attribute, one in found.items():
            gaps.append([name, attribute, *_gap(one, "uar"), *_gap(one, "ece"), _rests_on(one)])
            groups += [[name, group, *_group(own)] for group, own in one["groups"].items()]
    if not gaps:
        return None
    header = ["task, start, method", "by", "UAR gap", "p", "adjusted", "ECE gap", "p", "adjusted"]
    by_group = ["task, start, method", "group", "UAR", "95\u00a0%", "ECE", "utterances", "speakers"]
    return Section(
        "Fairness",
        NOTES,
        [Table([*header, "rests on"], gaps), Table(by_group, groups, "By group")],
    )


def _gap(one: Scores, measure: str) -> list[object]:
    told = one.get(f"{measure}_p", TOO_FEW)
    return [one.get(f"{measure}_gap"), told, one.get(f"{measure}_p_adjusted")]


def _rests_on(one: Scores) -> str:
    """How many speakers of each group."""
    counts = [f"{own['speakers']} {name}" for name, own in one["groups"].items()]
    out = f", {one['left_out']} utterances left out" if one["left_out"] else ""
    return f"{', '.join(counts)} speakers{out}"


def _group(own: Mapping[str, object]) -> list[object]:
    return [
        own.get("uar"),
        interval(own, "uar"),
        own.get("ece"),
        own["utterances"],
        own["speakers"],
    ]
