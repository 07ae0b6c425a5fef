"""The report's section on units: how large they are, and what they tell of who spoke and how.

Reads the ``report.json`` that `cluster` wrote for each adapted fold; numbers are means over folds.
"""

from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

from pipeline import files, plots
from pipeline.evaluation import Run
from pipeline.manifest import ARTIFACTS
from pipeline.report import Section, Table

SIZES = ("utilisation", "entropy_bits", "smallest", "median", "largest")
Scales = dict[str, list[dict[str, Any]]]  # what was counted on training frames, by scale, per fold


def section(run: Run, folder: Path) -> Section | None:
    """Sizes of the units, and their purity against each attribute, by scale."""
    folds = run.settings["adapted"]
    if not folds:
        return None
    reports = [files.read_json(ARTIFACTS / "units" / str(fold) / "report.json") for fold in folds]
    scales: Scales = {scale: [report[scale]["train"] for report in reports] for scale in reports[0]}
    first = next(iter(scales.values()))[0]
    attributes = [name for name, value in first.items() if value and "purity" in _mapping(value)]
    rows = [
        [
            int(scale),
            *(_mean(found, name) for name in SIZES),
            *(_mean(found, name, part) for name in attributes for part in ("purity", "chance")),
        ]
        for scale, found in scales.items()
    ]
    pairs = [f"{name} {part}" for name in attributes for part in ("purity", "chance")]
    header = ["units", "used", "entropy, bits", "smallest", "median", "largest", *pairs]
    note = (
        "On training frames. Purity is the share of frames whose value is the commonest of their "
        "unit, chance what a single unit would reach. Purity grows with the number of units alone."
    )
    picture = folder / "units.png"
    _draw(picture, scales, attributes)
    return Section("Units", [note], [Table(header, rows)], [picture] if attributes else [])


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _mean(found: list[dict[str, Any]], name: str, part: str = "") -> float:
    known = [one[name] for one in found if one[name] is not None]
    values = [_mapping(value)[part] if part else value for value in known]
    return float(np.mean(values)) if values else float("nan")


def _draw(path: Path, scales: Scales, attributes: list[str]) -> None:
    """Purity by the number of units, a line for each attribute; dotted is chance."""
    if not attributes:
        return
    with matplotlib.style.context(plots.STYLE):
        figure = Figure((7.2, 2.9), layout="constrained")
        axes = figure.add_subplot()
        for number, name in enumerate(attributes):
            for part, line in (("purity", "o-"), ("chance", ":")):
                values = [_mean(found, name, part) for found in scales.values()]
                label = name if part == "purity" else None
                axes.plot(list(scales), values, line, color=f"C{number}", label=label)
        axes.set(xlabel="units", ylabel="purity", ylim=(0, 1), title="units: purity and chance")
        axes.legend(frameon=False, fontsize=7)
        plots.save(figure, path)
