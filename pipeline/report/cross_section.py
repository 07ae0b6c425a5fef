"""The report's section on corpora against corpora (`pipeline.scoring.crossed`), as heat maps."""

from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

from pipeline.report import plots
from pipeline.report.page import Section, Table, interval
from pipeline.scoring.crossed import Matrix
from pipeline.scoring.evaluation import Run


def section(run: Run, folder: Path) -> Section | None:
    """Each pair of corpora: UAR, its interval, the classes; None where none were crossed."""
    if not run.crossed:
        return None
    tables, drawn = [], []
    for matrix in run.crossed:
        tables.append(_table(matrix))
        drawn.append(folder / f"{matrix.name}.png")
        _draw(drawn[-1], matrix)
    used = [corpus for corpus in run.corpora if corpus == "demo"]
    notes = [
        "Trained on one corpus, tested on all utterances of another; on the diagonal by folds of "
        "the corpus' own speakers. Nothing fitted, standardisation and the choice on dev included, "
        "has met the corpus that is tested. UAR over the classes named, which both corpora hold; "
        "intervals are 95 %, by a bootstrap over the speakers tested.",
        *("The corpus demo is synthetic: no voice of it is a person's." for _ in used),
    ]
    return Section("Across corpora", notes, tables, drawn)


def _table(matrix: Matrix) -> Table:
    rows = [
        [
            *pair,
            cell["uar"],
            interval(cell, "uar"),
            1 / len(cell["classes"]),
            cell["utterances"],
            cell["speakers"],
            ", ".join(cell["classes"]),
        ]
        for pair, cell in matrix.cells.items()
    ]
    header = ["trained on", "tested on", "UAR", "95\u00a0%", "chance", "utterances", "speakers"]
    return Table([*header, "classes"], rows, f"{matrix.features} {matrix.method}")


def _draw(path: Path, matrix: Matrix) -> None:
    """UAR by corpus trained on (rows) and tested (columns); what was not tested stays white."""
    names, cells = matrix.corpora, matrix.cells
    uar = np.full((len(names), len(names)), np.nan)
    size = 0.95 * len(names) + 1.9
    with matplotlib.style.context(plots.STYLE):
        figure = Figure((size + 0.4, size), layout="constrained")
        axes = figure.add_subplot()
        for (train, test), cell in cells.items():
            row, column = names.index(train), names.index(test)
            uar[row, column] = cell["uar"]
            low, high = cell.get("uar_low"), cell.get("uar_high")
            between = "" if low is None else f"\n{low:.2f} to {high:.2f}"
            colour = "white" if cell["uar"] > 0.55 else "black"
            text = f"{cell['uar']:.2f}{between}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=7.5)
        edges = np.arange(len(names) + 1) - 0.5
        axes.pcolormesh(edges, edges, uar, cmap="Blues", vmin=0, vmax=1)
        axes.set_aspect("equal")
        axes.invert_yaxis()
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
        title = f"{matrix.features} {matrix.method}: UAR across corpora"
        axes.set(xlabel="tested on", ylabel="trained on", title=title)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        plots.save(figure, path)
