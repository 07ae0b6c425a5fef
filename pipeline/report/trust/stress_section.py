"""The report's section on stress: what is left in noise, on the telephone, in a room.

Shows what `pipeline.scoring.trust.stressed` measured.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.audio.perturb.conditions import CLEAN, words
from pipeline.report import plots
from pipeline.report.page import Section, Table, interval
from pipeline.scoring.evaluation import Run
from pipeline.scoring.scores import Scores
from pipeline.scoring.trained_on import marked
from pipeline.scoring.trust import nested

PANELS = 3  # beside each other
NOTES = (
    "The same classifiers on the same test clips, as they would sound elsewhere; nothing was "
    "trained for it. The difference is to the clips as recorded, its interval over the same "
    "speakers: where it has no 0, the loss is more than chance. Decisions changed: utterances that "
    "are taken for another class than as recorded, rightly or wrongly.",
    "Babble: {voices} voices of the same corpus, never the speaker's own; dB there and in white "
    "noise are the ratio of the mean powers over the clip. Telephone: 300 to 3400 Hz, through "
    "8 kHz. Reverberation: a synthetic room whose sound falls by 60 dB in so many ms, the direct "
    "sound as strong as all the rest. Speed changes the pitch, too. What passes full scale is "
    "cut off.",
)


def section(run: Run, folder: Path) -> Section | None:
    """Each classifier under each condition; None where `stress` judged none."""
    found = {
        marked(f"{task} {start} {method}", run.protocol, (start, method)): of
        for (task, start, method), of in nested.each(run.trust.get("stress", {}))
    }
    if not found:
        return None
    picture = folder / "stress.png"
    draw(picture, found)
    notes = [note.format(voices=run.settings["stress"]["voices"]) for note in NOTES]
    tables = [_table(name, of) for name, of in found.items()]
    return Section("Under stress", notes, tables, [picture])


def _table(name: str, of: Mapping[str, Scores]) -> Table:
    measure = _measure(of)
    rows = [
        [
            words(condition),
            one[measure],
            interval(one, measure),
            one["difference"] if condition != CLEAN else None,
            interval(one, "difference") if condition != CLEAN else None,
            _percent(one.get("changed")) if condition != CLEAN else None,
            _percent(one["clipped"]),
        ]
        for condition, one in of.items()
    ]
    header = ["condition", measure.upper(), "95\u00a0%", "difference", "95\u00a0%"]
    return Table([*header, "decisions changed", "samples at full scale"], rows, name)


def _measure(of: Mapping[str, Scores]) -> str:
    return "uar" if "uar" in of[CLEAN] else "ccc"


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f}\u00a0%"


def draw(path: Path, found: Mapping[str, Mapping[str, Scores]]) -> None:
    """Draw the score under each condition, a panel for each classifier.

    A line where it is as recorded, a band for the interval of that.
    """
    names = list(next(iter(found.values())))
    columns = min(PANELS, len(found))
    rows = -(-len(found) // columns)
    with matplotlib.style.context(plots.STYLE):
        figure = Figure((7.2, rows * (0.2 * len(names) + 0.8)), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes in grid.flat[len(found) :]:
            axes.set_visible(False)
        for axes, (name, of) in zip(grid.flat, found.items(), strict=False):
            _panel(axes, [of[condition] for condition in names], _measure(of))
            axes.set_title(name, fontsize=7)
            axes.set_xlabel(f"{_measure(of).upper()} on test")
        for axes in grid[:, 0]:
            axes.set_yticks(range(len(names)), [words(condition) for condition in names])
            axes.set_ylim(len(names) - 0.5, -0.5)
        lowest = [one.get(f"{_measure(of)}_low", 0) for of in found.values() for one in of.values()]
        grid[0, 0].set_xlim(min(0, *lowest), 1)  # a concordance may be below 0
        plots.save(figure, path)


def _panel(axes: Axes, scores: Sequence[Scores], measure: str) -> None:
    clean = scores[0]
    axes.axvline(clean[measure], color=plots.FAINT, linewidth=0.8)
    ends = f"{measure}_low", f"{measure}_high"
    if ends[0] in clean:
        axes.axvspan(*(clean[end] for end in ends), color=plots.FAINT, alpha=0.2, linewidth=0)
    for row, one in enumerate(scores):
        colour = plots.INK if row else plots.FAINT
        if ends[0] in one:
            axes.plot([one[end] for end in ends], [row, row], color=colour, linewidth=1.5)
        axes.plot(one[measure], row, "o", color=colour, markersize=4)
