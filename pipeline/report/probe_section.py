"""The report's sections on embeddings: UAR by layer, and the clips in two dimensions.

Reads what `probe` wrote for each of ``probe.features``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

from pipeline.corpora.manifest import ARTIFACTS, Clip
from pipeline.ground import files
from pipeline.metrics.arrays import Floats
from pipeline.report import plots
from pipeline.report.page import Section, Table
from pipeline.scoring.evaluation import Run

MOST_NAMED = 12  # values that a legend names; more are told apart by colour alone


def layers(run: Run, folder: Path) -> Section | None:
    """Each encoder's UAR by layer."""
    found = {name: curves for name in _features(run) if (curves := _read_layers(name))}
    if not found:
        return None
    rows = [
        [name, layer, *(float(uar) if np.isfinite(uar) else None for uar in pair)]
        for name, curves in found.items()
        for layer, pair in curves.items()
    ]
    picture = folder / "layers.png"
    _draw_layers(picture, found)
    note = (
        "UAR of logistic regression on the mean over time of each cached layer, over clips, mean "
        "of the folds; its strength is chosen on dev. Choose a layer by dev: chosen by test it "
        "would no longer be a test."
    )
    header = ["encoder", "layer", "UAR on dev", "UAR on test"]
    return Section("Layers", [note], [Table(header, rows)], [picture])


def places(run: Run, folder: Path) -> Section | None:
    """Each encoder's clips in two dimensions, by emotion, gender and speaker."""
    clips = {clip.clip: clip for clip in run.clips}
    drawn = []
    for name in _features(run):
        rows = files.read_csv(_folder(name) / "places.csv")
        if rows:
            drawn.append(folder / f"embeddings-{name}.png")
            at = np.array([[float(row["x"]), float(row["y"])] for row in rows])
            _draw_places(drawn[-1], name, [clips[row["clip"]] for row in rows], at)
    layer = run.settings["probe"]["layer"]
    note = (
        f"t-SNE of the clips' means over time, layer {layer}, without their labels: near means "
        "alike, distances between groups mean little. No score depends on it."
    )
    return Section("Embeddings", [note], pictures=drawn) if drawn else None


def _features(run: Run) -> list[str]:
    names: list[str] = run.settings["probe"]["features"]
    return names


def _folder(name: str) -> Path:
    return ARTIFACTS / "probes" / name


def _read_layers(name: str) -> dict[str, Floats]:
    """The UAR on dev and on test, (2,), mean of the folds, by layer from bottom to top."""
    found: dict[str, list[list[float]]] = {}
    for row in files.read_csv(_folder(name) / "layers.csv"):
        pair = [float(row[role] or "nan") for role in ("dev_uar", "test_uar")]
        found.setdefault(row["layer"], []).append(pair)
    return {layer: np.mean(pairs, 0) for layer, pairs in found.items()}


def _draw_layers(path: Path, found: Mapping[str, Mapping[str, Floats]]) -> None:
    """A curve over depth for each encoder, solid on dev and dashed on test."""
    with matplotlib.style.context(plots.STYLE):
        figure = Figure((7.2, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for number, (name, curves) in enumerate(found.items()):
            both = np.array(list(curves.values())).T
            for curve, line, role in zip(both, ("o-", "s--"), ("dev", "test"), strict=True):
                label = f"{name}, {role}"
                axes.plot(curve, line, color=f"C{number}", markersize=4, label=label)
        axes.set(xlabel="depth: 0 enters the first block", ylabel="UAR", title="UAR by layer")
        axes.set_ylim(0, 1)
        deepest = max(len(curves) for curves in found.values()) - 1
        axes.set_xticks(range(deepest + 1))
        axes.legend(frameon=False, fontsize=7)
        plots.save(figure, path)


def _draw_places(path: Path, name: str, clips: Sequence[Clip], at: Floats) -> None:
    x, y = at.T
    with matplotlib.style.context(plots.STYLE):
        figure = Figure((7.2, 3.3), layout="constrained")
        panels = {
            "emotion": [plots.heard(clip) for clip in clips],
            "gender": [clip.gender for clip in clips],
            "speaker": [clip.speaker or "unknown" for clip in clips],
        }
        for axes, (title, values) in zip(figure.subplots(1, 3), panels.items(), strict=True):
            known = sorted(set(values))
            colours = matplotlib.colormaps["tab10" if len(known) <= 10 else "nipy_spectral"]
            for number, value in enumerate(known):
                rows = [row for row, other in enumerate(values) if other == value]
                colour = colours(number if len(known) <= 10 else number / len(known))
                axes.scatter(x[rows], y[rows], s=7, lw=0, color=colour, label=value)
            axes.set(xticks=[], yticks=[], title=f"{title} ({len(known)})")
            if len(known) <= MOST_NAMED:
                axes.legend(
                    frameon=False,
                    fontsize=6,
                    loc="upper center",
                    ncols=2,
                    bbox_to_anchor=(0.5, 0.0),
                    markerscale=1.5,
                )
        figure.suptitle(f"{name}: clips in two dimensions")
        plots.save(figure, path)
