"""The section of the report that sets two protocols side by side (`pipeline.scoring.protocols`)."""

from collections.abc import Sequence

from pipeline.report.page import Section, Table, interval
from pipeline.scoring.evaluation import Classifier, Run
from pipeline.scoring.scores import Scores
from pipeline.scoring.trained_on import marked

# By the score that has an interval: what is compared of classes, and of values.
SCORES = {
    "uar": {"UAR": "uar", "accuracy": "war", "F1 macro": "f1_macro"},
    "ccc": {"CCC": "ccc", "ρ": "rho", "MAE": "mae"},
}


def section(run: Run, _plots: object) -> Section | None:
    """Each system under both protocols, and the gap; None where it has one."""
    beside = {c.name: c.scores for c in run.shared}
    both = [(c, beside[c.name]) for c in run.classifiers if c.name in beside]
    tables = [_table(key, both, run) for key in SCORES if any(key in c.scores for c, _ in both)]
    if not tables:
        return None
    return Section(
        "The same speakers on both sides",
        [
            "Beside the speaker-independent folds, the same methods on a random fifth of the "
            "utterances, as one of the papers splits: its test speakers were heard in training. "
            "These scores are not speaker-independent; the gap is what they overstate."
        ],
        tables,
    )


def _table(key: str, both: Sequence[tuple[Classifier, Scores]], run: Run) -> Table:
    rows, (first, *_) = [], SCORES[key]
    for c, theirs in both:
        if key in c.scores and key in theirs:
            ours = c.scores
            row: list[object] = [marked(c.shown, run.protocol, (c.start, c.method))]
            for name in SCORES[key].values():
                row += [ours[name], theirs[name], theirs[name] - ours[name]]
            rows.append([*row, interval(ours, key), interval(theirs, key)])
    header = ["task, start, method"]
    for name in SCORES[key]:
        header += [name, f"{name}, shared", "gap"]
    return Table([*header, f"95\u00a0% of {first}", "95\u00a0%, shared"], rows)
