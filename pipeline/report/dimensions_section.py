"""The report's section on a task of dimensions: concordance, by corpus and speaker, and pictures.

Named by `pipeline.report.sections` for each such task.
"""

from collections.abc import Sequence
from pathlib import Path

from pipeline.report import anonymous, plots
from pipeline.report.page import Section, Table, interval
from pipeline.scoring import ratings, trained_on
from pipeline.scoring.evaluation import Classifier, Run
from pipeline.scoring.scores import Scores

NOTE = (
    "CCC: Lin's concordance correlation, 1 for equal values alone. Pearson's r asks for a straight "
    "line, Spearman's ρ for the same order; MAE is the mean absolute error in the unit of the "
    "ratings. Means over the dimensions; intervals are of these."
)
MAIN = ["CCC", "95\u00a0%", "fold mean", "fold sd", "Pearson", "ρ", "MAE", "utterances", "speakers"]


def section(name: str, run: Run, folder: Path) -> Section | None:
    """A task's systems: means, each dimension, corpora, speakers, and truth against prediction."""
    own = [c for c in run.classifiers if c.task == name]
    if not own:
        return None
    dimensions = own[0].classes
    rows = [[_marked(c, run), *_main(c.scores)] for c in own]
    parts = [
        [_marked(c, run), corpus, *_main(scores)]
        for c in own
        for corpus, scores in c.scores["corpora"].items()
    ]
    each = [
        [_marked(c, run), dimension, *_of(c.scores["of"][dimension])]
        for c in own
        for dimension in dimensions
    ]
    header = ["start, method", "dimension", "CCC", "95\u00a0%", "Pearson", "ρ", "MAE"]
    tables = [
        Table(["start, method", *MAIN], rows),
        *([Table(["start, method", "corpus", *MAIN], parts, "By corpus")] if parts else []),
        Table(header, each, "By dimension"),
        _speakers(own, run),
    ]
    drawn = [folder / f"dimensions-{c.name}.png" for c in own]
    for path, c in zip(drawn, own, strict=True):
        told = {n: f"{n}, CCC {c.scores['of'][n].get('ccc', 0):.2f}" for n in dimensions}
        title = f"{_name(c)}: test utterances"
        plots.scatter(path, title, (c.tested.truth, c.tested.guess), list(told.values()))
    notes = [NOTE, *trained_on.remarks(run.protocol)]
    return Section(name.capitalize(), notes, tables, [*drawn, *plots.learnt(own, folder)])


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
