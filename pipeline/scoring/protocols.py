"""Two protocols side by side: speakers that nobody has heard, and the same voices on both sides.

A paper's random split of the utterances measures the second, and its scores are read as if they
were the first. Where ``split.shared`` adds such folds, this is the gap between them.
"""

from collections.abc import Mapping, Sequence

from pipeline.corpora.manifest import Clip
from pipeline.report.page import Section, Table, interval
from pipeline.scoring import scores
from pipeline.scoring.active import System
from pipeline.scoring.evaluation import Run
from pipeline.splits.folds import Fold

Systems = dict[System, list[int]]
SCORES = {"UAR": "uar", "accuracy": "war", "F1 macro": "f1_macro"}


def separate(
    systems: Mapping[System, Sequence[int]], clips: Sequence[Clip], made: Sequence[Fold]
) -> tuple[Systems, Systems]:
    """What is scored, and the folds that are scored beside it because speakers are on both sides.

    A system that has speaker-independent folds is scored by them alone.
    """
    apart = {
        fold
        for fold in {fold for used in systems.values() for fold in used}
        if fold < len(made) and scores.speaker_independent(clips, [made[fold]])
    }
    main, beside = {}, {}
    for system, used in systems.items():
        shared = [fold for fold in used if fold not in apart]
        if apart & set(used) and shared:
            beside[system] = shared
        main[system] = [fold for fold in used if fold in apart] or list(used)
    return main, beside


def section(run: Run, _plots: object) -> Section | None:
    """Each system under both protocols, and the gap; None where it has one."""
    beside = {c.name: c.scores for c in run.shared}
    if not beside:
        return None
    rows = []
    for c in run.classifiers:
        if c.name in beside:
            ours, theirs = c.scores, beside[c.name]
            row: list[object] = [f"{c.start} {c.method}"]
            for key in SCORES.values():
                row += [ours[key], theirs[key], theirs[key] - ours[key]]
            rows.append([*row, interval(ours, "uar"), interval(theirs, "uar")])
    header = ["start, method"]
    for name in SCORES:
        header += [name, f"{name}, shared", "gap"]
    header += ["95\u00a0% of UAR", "95\u00a0%, shared"]
    return Section(
        "The same speakers on both sides",
        [
            "Beside the speaker-independent folds, the same methods on a random fifth of the "
            "utterances, as one of the papers splits: its test speakers were heard in training. "
            "These scores are not speaker-independent; the gap is what they overstate."
        ],
        [Table(header, rows)],
    )
