"""The section of the report that sets two protocols side by side (`pipeline.scoring.protocols`)."""

from pipeline.report.page import Section, Table, interval
from pipeline.scoring.evaluation import Run
from pipeline.scoring.trained_on import marked

SCORES = {"UAR": "uar", "accuracy": "war", "F1 macro": "f1_macro"}


def section(run: Run, _plots: object) -> Section | None:
    """Each system under both protocols, and the gap; None where it has one."""
    beside = {c.name: c.scores for c in run.shared}
    if not beside:
        return None
    rows = []
    for c in run.classifiers:
        if c.name in beside:
            ours, theirs = c.scores, beside[c.name]
            row: list[object] = [marked(c.shown, run.protocol, (c.start, c.method))]
            for key in SCORES.values():
                row += [ours[key], theirs[key], theirs[key] - ours[key]]
            rows.append([*row, interval(ours, "uar"), interval(theirs, "uar")])
    header = ["task, start, method"]
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
