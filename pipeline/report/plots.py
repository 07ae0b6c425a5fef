"""Pictures of results as PNG files: confusions, learning curves, shares, corpora.

Stands between the scores and ``results/plots``; the report shows the same files. The bytes follow
from the numbers: no date, no library version.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import numpy.typing as npt
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.corpora.manifest import Clip
from pipeline.metrics.arrays import Floats
from pipeline.scoring.evaluation import Classifier
from pipeline.scoring.scores import Scores
from pipeline.splits.targets import Emotion
from pipeline.units import tally

INK = "#1f4e79"
SECOND = "#c8553d"
FAINT = "#8a8a8a"
# Around what lies on bars: it must be seen on dark and on white.
HALO = [patheffects.withStroke(linewidth=3, foreground="white")]
MOST_IN_COLUMN = 4  # folds in a column of a legend
GENDERS = {"female": SECOND, "male": INK, "unknown": FAINT}
# Whatever a user's matplotlibrc says.
STYLE: Any = ["default", {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}]

# Per fold, a learning curve: its columns by name, NaN where an epoch has no value.
Curves = Mapping[int, Mapping[str, Floats]]


def confusion(path: Path, title: str, counts: npt.NDArray[np.int64], names: Sequence[str]) -> None:
    """Draw counts (truth in rows), shaded and labelled by their share of the row."""
    size = 0.62 * len(names) + 1.9
    with matplotlib.style.context(STYLE):
        figure = Figure((size + 0.4, size), layout="constrained")
        axes = figure.add_subplot()
        share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        edges = np.arange(len(names) + 1) - 0.5
        axes.pcolormesh(edges, edges, share, cmap="Blues", vmin=0, vmax=1)
        axes.set_aspect("equal")
        axes.invert_yaxis()
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if share[row, column] > 0.55 else "black" if count else "#bbbbbb"
            text = f"{count}\n{share[row, column]:.0%}" if count else "0"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=7.5)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="predicted", ylabel="truth", title=title)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        save(figure, path)


def comparison(path: Path, title: str, systems: Mapping[str, Scores], chance: float) -> None:
    """Draw each system's UAR, and its interval where there is one."""
    with matplotlib.style.context(STYLE):
        figure = Figure((7.2, 0.38 * len(systems) + 1.1), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(chance, color=FAINT, linestyle="--", linewidth=0.8, label="chance")
        for row, found in enumerate(systems.values()):
            if "uar_low" in found:
                axes.plot([found["uar_low"], found["uar_high"]], [row, row], color=INK, linewidth=2)
            axes.plot(found["uar"], row, "o", color=INK)
            axes.annotate(
                f"{found['uar']:.3f}",
                (found["uar"], row),
                (0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
        axes.set_yticks(range(len(systems)), systems)
        bounded = any("uar_low" in found for found in systems.values())
        label = "UAR on test" + ", 95 % over speakers" * bounded
        axes.set(xlim=(0, 1), xlabel=label, title=title)
        axes.set_ylim(len(systems) - 0.4, -0.7)
        axes.legend(frameon=False, fontsize=7, loc="lower right")
        save(figure, path)


def colours(count: int) -> list[Any]:
    """So many colours, of which no two are the same."""
    if count <= 10:
        return [matplotlib.colormaps["tab10"](number) for number in range(count)]
    return list(matplotlib.colormaps["nipy_spectral"](np.linspace(0.05, 0.95, count)))


def learning(path: Path, title: str, curves: Curves) -> None:
    """Draw the losses and the dev score over epochs: a colour for each fold, dots for each epoch.

    The score is UAR, of dimensions the concordance; models that train together have none.
    """
    every = {column for curve in curves.values() for column in curve}
    score = next((name for name in ("dev_ccc", "dev_uar") if name in every), None)
    with matplotlib.style.context(STYLE):
        figure = Figure((7.2, 2.9), layout="constrained")
        panels = figure.subplots(1, 2 if score else 1, squeeze=False)[0]
        losses, scores = panels[0], panels[-1]
        for (fold, curve), colour in zip(curves.items(), colours(len(curves)), strict=True):
            for axes, column, line in (
                (losses, "train_loss", ".-"),
                (losses, "dev_loss", ".--"),
                *([(scores, score, ".--")] if score else []),
            ):
                label = f"fold {fold}, {column.split('_')[0]}"
                axes.plot(curve["epoch"], curve[column], line, color=colour, label=label)
        losses.set(xlabel="epoch", ylabel="loss")
        if score:
            low = min(0, *(np.nanmin(c[score], initial=0) for c in curves.values()), 0)
            label = f"{score.removeprefix('dev_').upper()} on dev"
            scores.set(xlabel="epoch", ylabel=label, ylim=(low, 1))
        for axes in panels:
            axes.xaxis.get_major_locator().set_params(integer=True)
            columns = 1 + len(curves) // MOST_IN_COLUMN
            axes.legend(frameon=False, fontsize=7, handlelength=3.5, ncols=columns)
        figure.suptitle(title)
        save(figure, path)


def learnt(own: Sequence[Classifier], folder: Path) -> list[Path]:
    """Draw the learning curves of those that have any; their pictures."""
    drawn = []
    for c in own:
        if c.curves:
            drawn.append(folder / f"learning-{c.name}.png")
            learning(drawn[-1], f"{c.start} {c.method}: learning", c.curves)
    return drawn


def scatter(
    path: Path,
    title: str,
    values: tuple[Floats, Floats],
    titles: Sequence[str],
    limits: tuple[float, float] | None = None,
) -> None:
    """Draw predicted against true values (utterances, columns), a panel for each column.

    ``values`` are the true ones, then those predicted: ratings, or within ``limits`` shares. The
    dashed line is where both are equal.
    """
    truth, guess = values
    low, high = limits or (float(truth.min()), float(truth.max()))
    what = "share" if limits else "rating"
    columns = min(3, len(titles))
    rows = -(-len(titles) // columns)
    with matplotlib.style.context(STYLE):
        figure = Figure((7.2, 2.3 * rows + 0.4), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes in grid.flat[len(titles) :]:
            axes.set_visible(False)
        for column, (axes, name) in enumerate(zip(grid.flat, titles, strict=False)):
            alpha = max(0.08, min(0.7, 60 / len(truth)))
            axes.plot([low, high], [low, high], color=FAINT, linewidth=0.8, linestyle="--")
            axes.scatter(truth[:, column], guess[:, column], s=9, color=INK, alpha=alpha, lw=0)
            margin = 0.03 * (high - low)
            axes.set_xlim(low - margin, high + margin)
            axes.set_title(name, fontsize=9)
        figure.supxlabel(f"true {what}", fontsize=9)
        figure.supylabel(f"predicted {what}", fontsize=9)
        figure.suptitle(title)
        save(figure, path)


def corpus(
    path: Path,
    title: str,
    classes: Mapping[str, Mapping[str, int]],
    durations_s: Sequence[float],
) -> None:
    """Draw the utterances of each gender and emotion, and how long the clips are."""
    names = sorted({name for counts in classes.values() for name in counts})
    with matplotlib.style.context(STYLE):
        figure = Figure((7.2, max(2.6, 0.24 * len(names) + 1.1)), layout="constrained")
        emotions, lengths = figure.subplots(1, 2)
        below = np.zeros(len(names))
        for gender, counts in classes.items():
            widths = [counts.get(name, 0) for name in names]
            emotions.barh(names, widths, left=below, color=GENDERS[gender], label=gender)
            below += widths
        emotions.invert_yaxis()
        emotions.set(xlabel="utterances")
        emotions.legend(
            frameon=False, fontsize=7, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(classes)
        )
        lengths.hist(durations_s, bins=30, color=INK)
        lengths.set(xlabel="duration of a clip in seconds", ylabel="clips")
        lengths.set_xlim(left=0)
        for axis in (emotions.xaxis, lengths.yaxis):
            axis.get_major_locator().set_params(integer=True)
        figure.suptitle(title)
        save(figure, path)


def units(path: Path, title: str, scales: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw each scale's cluster sizes over their mean, and what its units say of attributes.

    ``scales`` has of each scale what `pipeline.units.tally` counted on the frames of one role.
    """
    colours = matplotlib.colormaps["Blues"](np.linspace(0.45, 0.95, len(scales)))
    with matplotlib.style.context(STYLE):
        figure = Figure((7.2, 2.9), layout="constrained")
        sizes, said = figure.subplots(1, 2)
        for (scale, found), colour in zip(scales.items(), colours, strict=True):
            relative = np.array(found["sizes"][::-1]) / (found["frames"] / int(scale))
            sizes.plot(np.linspace(0, 100, len(relative)), relative, color=colour, label=scale)
        sizes.set(xlabel="units, largest first (%)", ylabel="size over the mean")
        sizes.set_ylim(bottom=0)
        sizes.legend(frameon=False, fontsize=7, title="units", title_fontsize=7)
        _agreement(said, list(scales.values()), colours)
        figure.suptitle(title)
        save(figure, path)


def _agreement(axes: Axes, scales: Sequence[Mapping[str, Any]], colours: Iterable[Any]) -> None:
    """Bars of purity, chance and mutual information, a group for each attribute."""
    names = [name for name in tally.ATTRIBUTES if all(found[name] for found in scales)]
    width = 0.8 / len(scales)
    for row, (found, colour) in enumerate(zip(scales, colours, strict=False)):
        x = np.arange(len(names)) + (row + 0.5) * width - 0.4
        told = {key: [found[n][key] for n in names] for key in ("purity", "chance", "nmi")}
        axes.bar(x, told["purity"], 0.9 * width, color=colour, label="" if row else "purity")
        axes.hlines(
            told["chance"],
            x - 0.45 * width,
            x + 0.45 * width,
            color=SECOND,
            label="" if row else "chance",
        )
        axes.plot(x, told["nmi"], "kD", markersize=3, label="" if row else "NMI")
    axes.set(ylim=(0, 1))
    axes.set_xticks(range(len(names)), names)
    axes.legend(frameon=False, fontsize=7, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)


def heard(clip: Clip, task: Emotion | None) -> str:
    """The clip's class, or where it has none its emotion, or the one with the largest share."""
    label = task.index(clip.emotion) if task else None
    if task and label is not None:
        return task.classes[label]
    heard = clip.shares or clip.votes
    return clip.emotion or max(heard, key=heard.__getitem__, default="unlabelled")


def save(figure: Figure, path: Path) -> None:
    """Write the picture; its bytes follow from what was drawn."""
    figure.savefig(path, dpi=144, metadata={"Software": None})
