"""The report's section on calibration: of answers with a confidence of 0.8, are 0.8 right?

Shows what `pipeline.scoring.calibrated` measured. Named in `pipeline.report.sections`.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.metrics.calibration import BINS, Reliability
from pipeline.report import plots
from pipeline.report.page import Section, Table
from pipeline.scoring.calibrated import UNCALIBRATED, Confidence
from pipeline.scoring.evaluation import Run
from pipeline.scoring.trained_on import marked

COLUMNS = 3
NOTE = (
    f"ECE: expected calibration error on test, over {BINS} bins of equal width: how far the share "
    "of right answers is from the confidence that they are given with. Calibrated: with the logits "
    "over a temperature that was fitted on each fold's dev, as ser predict has them. It changes no "
    "answer, and so no other score. A dev of one or two speakers tells little of a new one."
)


def section(run: Run, folder: Path) -> Section | None:
    """Every classifier's calibration error, and its reliability diagram."""
    known = [
        (marked(c.shown, run.protocol, (c.start, c.method)), c.confidence)
        for c in run.classifiers
        if c.confidence
    ]
    if not known:
        return None
    rows = [
        [name, one.before.ece, one.after.ece if one.after else UNCALIBRATED, _spanned(one)]
        for name, one in known
    ]
    header = ["task, start, method", "ECE", "ECE calibrated", "temperature"]
    picture = folder / "reliability.png"
    draw(picture, known)
    return Section("Calibration", [NOTE], [Table(header, rows)], [picture])


def _spanned(one: Confidence) -> str | None:
    """The temperatures of the folds, from the lowest to the highest."""
    if not one.temperatures:
        return None
    ends = sorted({f"{value:.2f}": value for value in one.temperatures}.items(), key=lambda p: p[1])
    return " to ".join(dict.fromkeys([ends[0][0], ends[-1][0]]))


def draw(path: Path, known: Sequence[tuple[str, Confidence]]) -> None:
    """Draw the share of right answers over their confidence, a panel for each classifier."""
    rows = -(-len(known) // COLUMNS)
    with matplotlib.style.context(plots.STYLE):
        figure = Figure((7.2, 2.4 * rows + 0.4), layout="constrained")
        grid = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False)
        for axes in grid.flat[len(known) :]:
            axes.set_visible(False)
        for axes, (name, one) in zip(grid.flat, known, strict=False):
            axes.plot([0, 1], [0, 1], color=plots.FAINT, linewidth=0.8, linestyle="--")
            _line(axes, one.before, plots.SECOND, "as trained")
            if one.after:
                _line(axes, one.after, plots.INK, "calibrated")
            axes.set(xlim=(0, 1), ylim=(0, 1))
            axes.set_title(name, fontsize=7)
        grid[-1, 0].set(xlabel="confidence", ylabel="right")
        grid[0, 0].legend(frameon=False, fontsize=6, loc="upper left")
        plots.save(figure, path)


def _line(axes: Axes, found: Reliability, colour: str, label: str) -> None:
    """A dot for each bin that holds answers, as large as their share."""
    seen = found.counts > 0
    x, y = found.confidence[seen], found.accuracy[seen]
    axes.plot(x, y, color=colour, linewidth=0.8, label=label)
    axes.scatter(x, y, s=4 + 60 * found.counts[seen] / found.counts.sum(), color=colour, lw=0)
