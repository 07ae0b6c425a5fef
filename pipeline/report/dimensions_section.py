"""The report's section on a task of values: concordance, by corpus and speaker, and pictures.

Named by `pipeline.report.sections` for each such task.
"""

from collections.abc import Sequence
from pathlib import Path

from pipeline.report import anonymous, plots, share_section
from pipeline.report.page import Section, Table, interval
from pipeline.scoring import ratings, trained_on
from pipeline.scoring.evaluation import Classifier, Run
from pipeline.scoring.scores import Scores
from pipeline.splits.valued import Shares

NOTE = (
    "CCC: Lin's concordance correlation, 1 for equal values alone. Pearson's r asks for a straight "
    "line, Spearman's ρ for the same order; MAE is the mean absolute error in the unit of the "
    "ratings. Means over the dimensions; intervals are of these."
)
MAIN = ["CCC", "95\u00a0%", "fold mean", "fold sd", "Pearson", "ρ", "MAE", "utterances", "speakers"]


def section(name: str, run: Run, folder: Path) -> Section | None:
    """A task's systems: means, each value, corpora, speakers, and truth against prediction.

    Shares have the tables and the figure of their paper first.
    """
    own = [c for c in run.classifiers if c.task == name]
    if not own:
        return None
    is_shares = isinstance(run.tasks[name], Shares)
    scored = [c for c in own if "ccc" in c.scores]
    notes = [*(share_section.NOTES if is_shares else ()), NOTE, *trained_on.remarks(run.protocol)]
    tables = list(share_section.tables(name, own, run.protocol).values()) if is_shares else []
    drawn = [folder / f"{name}-architectures.png"] if is_shares and scored else []
    for path in drawn:
        share_section.draw(path, scored)
    drawn += [_truth(c, folder, is_shares) for c in scored]
    tables += _tables(own, run, "emotion" if is_shares else "dimension")
    return Section(name.capitalize(), notes, tables, [*drawn, *plots.learnt(own, folder)])


def _tables(own: Sequence[Classifier], run: Run, what: str) -> list[Table]:
    rows = [[_marked(c, run), *_main(c.scores)] for c in own]
    parts = [
        [_marked(c, run), corpus, *_main(scores)]
        for c in own
        for corpus, scores in c.scores["corpora"].items()
    ]
    each = [
        [_marked(c, run), name, *_of(c.scores["of"][name])] for c in own for name in own[0].classes
    ]
    header = ["start, method", what, "CCC", "95\u00a0%", "Pearson", "ρ", "MAE"]
    return [
        Table(["start, method", *MAIN], rows),
        *([Table(["start, method", "corpus", *MAIN], parts, "By corpus")] if parts else []),
        Table(header, each, f"By {what}"),
        _speakers(own, run),
    ]


def _truth(c: Classifier, folder: Path, is_shares: bool) -> Path:
    """Draw truth against prediction."""
    path = folder / (f"{c.name}.png" if is_shares else f"dimensions-{c.name}.png")
    key, shown = ("rho", "ρ") if is_shares else ("ccc", "CCC")
    told = [f"{name}, {shown} {c.scores['of'][name].get(key, 0):.2f}" for name in c.classes]
    limits = (0.0, 1.0) if is_shares else None
    values = c.tested.truth, c.tested.guess
    plots.scatter(path, f"{_name(c)}: test utterances", values, told, limits)
    return path


def _speakers(own: Sequence[Classifier], run: Run) -> Table:
    """CCC of each speaker, who is a number here."""
    named = anonymous.numbered(clip.speaker for clip in run.clips)
    found = {_marked(c, run): ratings.by_speaker(c.tested) for c in own}
    first = next(iter(found.values()))
    rows = [
        [named.get(who, who), count, *(one.get(who, (0, None))[1] for one in found.values())]
        for who, (count, _) in first.items()
    ]
    return Table(["speaker", "utterances", *found], rows, "CCC by speaker")


def _marked(c: Classifier, run: Run) -> str:
    return trained_on.marked(_name(c), run.protocol)


def _name(c: Classifier) -> str:
    return f"{c.start} {c.method}"


def _main(scores: Scores) -> Sequence[object]:
    keys = ("ccc_mean", "ccc_sd", "pearson", "rho", "mae", "utterances", "speakers")
    return [scores.get("ccc"), interval(scores, "ccc"), *(scores.get(key) for key in keys)]


def _of(scores: Scores) -> Sequence[object]:
    return [
        scores.get("ccc"),
        interval(scores, "ccc"),
        *(scores.get(key) for key in ("pearson", "rho", "mae")),
    ]
