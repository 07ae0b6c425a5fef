"""The report's sections on embeddings: UAR by layer, and the clips in two dimensions.

Reads what `probe` wrote for each of ``probe.features``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

from pipeline.corpora.manifest import ARTIFACTS
from pipeline.ground import files
from pipeline.metrics.arrays import Floats
from pipeline.report import anonymous, plots
from pipeline.report.page import Section, Table
from pipeline.scoring import active
from pipeline.scoring.evaluation import Run
from pipeline.scoring.trained_on import KEY, remarks

Probe = tuple[str, str]  # task and encoder
MOST_NAMED = 12  # values that a legend names; more are told apart by colour alone


def layers(run: Run, folder: Path) -> Section | None:
    """Each encoder's UAR by layer."""
    found = {name: curves for name in _probes(run) if (curves := _read_layers(name))}
    if not found:
        return None
    met = run.protocol.get(KEY, {})
    stars = {probe: " *" for probe in found if f"{probe[1]} probe" in met}
    rows = [
        [
            task,
            name + stars.get((task, name), ""),
            layer,
            *(float(uar) if np.isfinite(uar) else None for uar in pair),
        ]
        for (task, name), curves in found.items()
        for layer, pair in curves.items()
    ]
    picture = folder / "layers.png"
    _draw_layers(picture, found)
    note = (
        "UAR of logistic regression on the mean over time of each cached layer, over clips, mean "
        "of the folds; its strength is chosen on dev. Choose a layer by dev: chosen by test it "
        "would no longer be a test."
    )
    header = ["task", "encoder", "layer", "UAR on dev", "UAR on test"]
    notes = [note, *(remarks(run.protocol) if stars else [])]
    return Section("Layers", notes, [Table(header, rows)], [picture])


def places(run: Run, folder: Path) -> Section | None:
    """Each encoder's clips in two dimensions, by emotion, gender and speaker."""
    clips = {clip.clip: clip for clip in run.clips}
    speakers = anonymous.numbered(clip.speaker for clip in run.clips)
    task, drawn = run.counted, []
    first = {features: probe for probe in reversed(_probes(run)) for features in probe[1:]}
    for name in run.settings["probe"]["features"] if first else ():
        rows = files.read_csv(_folder(first[name]) / "places.csv")
        if rows:
            drawn.append(folder / f"embeddings-{name}.png")
            at = np.array([[float(row["x"]), float(row["y"])] for row in rows])
            shown = [clips[row["clip"]] for row in rows]
            panels = {
                "emotion": [plots.heard(clip, task) for clip in shown],
                "gender": [clip.gender for clip in shown],
                "speaker": [speakers[clip.speaker] for clip in shown],
            }
            _draw_places(drawn[-1], name, panels, at)
    layer = run.settings["probe"]["layer"]
    note = (
        f"t-SNE of the clips' means over time, layer {layer}, without their labels: near means "
        "alike, distances between groups mean little. No score depends on it."
    )
    return Section("Embeddings", [note], pictures=drawn) if drawn else None


def _probes(run: Run) -> list[Probe]:
    """Each task and encoder that was probed."""
    return active.probes(run.settings)


def _folder(probe: Probe) -> Path:
    return ARTIFACTS.joinpath("probes", *probe)


def _read_layers(probe: Probe) -> dict[str, Floats]:
    """The UAR on dev and on test, (2,), mean of the folds, by layer from bottom to top."""
    found: dict[str, list[list[float]]] = {}
    for row in files.read_csv(_folder(probe) / "layers.csv"):
        pair = [float(row[role] or "nan") for role in ("dev_uar", "test_uar")]
        found.setdefault(row["layer"], []).append(pair)
    return {layer: np.mean(pairs, 0) for layer, pairs in found.items()}


def _draw_layers(path: Path, found: Mapping[Probe, Mapping[str, Floats]]) -> None:
    """A curve over the layers for each encoder, solid on dev and dashed on test.

    Named as in the table and in ``params.yaml``, from the top, so that encoders of different depths
    meet at their tops.
    """
    names = sorted({name for curves in found.values() for name in curves}, key=_from_bottom)
    with matplotlib.style.context(plots.STYLE):
        figure = Figure((7.2, 3.2), layout="constrained")
        axes = figure.add_subplot()
        colours = plots.colours(len(found))
        for (probe, curves), colour in zip(found.items(), colours, strict=True):
            name = ": ".join(probe)
            both, at = np.array(list(curves.values())).T, [names.index(name) for name in curves]
            for curve, line, role in zip(both, ("o-", "s--"), ("dev", "test"), strict=True):
                axes.plot(at, curve, line, color=colour, markersize=4, label=f"{name}, {role}")
        axes.set(xlabel="layer: -1 is the top block", ylabel="UAR", title="UAR by layer")
        axes.set_ylim(0, 1)
        axes.set_xticks(range(len(names)), names, fontsize=9 if len(names) < MOST_NAMED * 2 else 6)
        axes.legend(frameon=False, fontsize=7, handlelength=3.5)
        plots.save(figure, path)


def _from_bottom(layer: str) -> float:
    return 0.0 if layer == "last" else float(layer)


def _draw_places(path: Path, name: str, panels: Mapping[str, Sequence[str]], at: Floats) -> None:
    x, y = at.T
    with matplotlib.style.context(plots.STYLE):
        figure = Figure((7.2, 3.3), layout="constrained")
        for axes, (title, values) in zip(figure.subplots(1, 3), panels.items(), strict=True):
            # Numbers in their order, not in that of their digits.
            known = sorted(set(values), key=lambda value: (len(value) * value[-1].isdigit(), value))
            for value, colour in zip(known, plots.colours(len(known)), strict=True):
                rows = [row for row, other in enumerate(values) if other == value]
                axes.scatter(x[rows], y[rows], s=7, lw=0, color=[colour], label=value)
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
