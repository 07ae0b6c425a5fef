"""The part of a report that shares alone have: the paper's tables 1 and 2 and its figure 3.

From the scores of every features and method to tables (also as CSV) and a picture. The paper is
"Effect of Attention and Self-Supervised Speech Embeddings on Non-Semantic Speech Tasks", ACM MM
2023; its table 2 measures each mean rho against the challenge's baseline, and so does ours.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

from pipeline.ground import files
from pipeline.report import plots
from pipeline.report.page import Table, interval
from pipeline.scoring.evaluation import Classifier, Run
from pipeline.scoring.scores import Scores
from pipeline.scoring.trained_on import marked
from pipeline.splits.valued import Shares

ARCHITECTURES = {"cnn-lstm": "architecture 1", "cnn-lstm-attention": "architecture 2"}
# Schuller et al. 2023, on the challenge's devel part, as table 1 of the paper quotes it.
BASELINE = {
    "anger": 0.428,
    "boredom": 0.545,
    "calmness": 0.559,
    "concentration": 0.524,
    "determination": 0.531,
    "excitement": 0.453,
    "interest": 0.431,
    "sadness": 0.476,
    "tiredness": 0.55,
}
BASELINE_MEAN = 0.5
BEST = "better of each emotion"
NOTES = (
    "Spearman's ρ between predicted and true shares on test utterances of known truth. R²: 1 - "
    "squared error / squared deviation from the mean, mean over emotions; above 0 the regressors "
    "beat every constant prediction, and so the mean of the training shares.",
    "The published baseline was measured on devel of the Emotion Share challenge (Hume-Prosody). "
    "On any other corpus the change against it says nothing about a system.",
    f"The row “{BEST}” takes the architecture of the higher ρ for each emotion, as the "
    "paper's table 2 does for its best features. It chooses on the scored utterances, which "
    "flatters: it is there to compare with the paper, the other rows choose nothing.",
)


def tables(name: str, own: Sequence[Classifier], protocol: Scores) -> Mapping[str, Table]:
    """The tables of a task's systems, by the name of their CSV file."""
    return {
        f"{name}-emotions": _emotions(own, protocol),
        f"{name}-baseline": _against_baseline(own, protocol),
    }


def write(folder: Path, run: Run) -> None:
    """One CSV file for each table, in an existing folder; an unknown value is empty."""
    for task, told in run.tasks.items():
        own = [c for c in run.classifiers if c.task == task]
        if own and isinstance(told, Shares):
            for name, table in tables(task, own, run.protocol).items():
                files.write_csv(folder / f"{name}.csv", table.header, table.rows)


def _emotions(own: Sequence[Classifier], protocol: Scores) -> Table:
    """Table 1: rho of each emotion by features and architecture, then the baseline's."""
    emotions = own[0].classes
    rows = [
        [
            _marked(c, protocol),
            c.method,
            c.scores.get("rho"),
            interval(c.scores, "rho"),
            *(c.scores["of"][emotion].get("rho") for emotion in emotions),
            c.scores.get("r2"),
            interval(c.scores, "r2"),
            c.scores["utterances"],
            c.scores["speakers"],
        ]
        for c in own
    ]
    if set(emotions) == set(BASELINE):
        published = [BASELINE[emotion] for emotion in emotions]
        rows.append(["published baseline", None, BASELINE_MEAN, None, *published, *[None] * 4])
    # What counts comes first: nine emotions fill the width of a page.
    header = ["features", "architecture", "mean ρ", "ρ 95\u00a0%", *emotions, "mean R²"]
    caption = "ρ of each emotion (the paper's table 1)"
    return Table([*header, "R² 95\u00a0%", "utterances", "speakers"], rows, caption)


def _against_baseline(own: Sequence[Classifier], protocol: Scores) -> Table:
    """Table 2: mean rho against the published baseline's."""
    rows = []
    scored = [c for c in own if "rho" in c.scores]
    for features in dict.fromkeys(c.start for c in scored):
        found = [c for c in scored if c.start == features]
        means = {c.method: c.scores["rho"] for c in found}
        both = [c.scores for c in found if c.method in ARCHITECTURES]
        means |= {BEST: _best(both)} if len(both) > 1 else {}
        shown = _marked(found[0], protocol)
        rows += [[shown, head, rho, BASELINE_MEAN, percent(rho)] for head, rho in means.items()]
    header = ["features", "architecture", "mean ρ (a)", "baseline (b)", "100 (a - b) / b"]
    return Table(header, rows, "Mean ρ against the published baseline (the paper's table 2)")


def _marked(c: Classifier, protocol: Scores) -> str:
    return marked(c.start, protocol, (c.start, c.method))


def percent(rho: float) -> float:
    """The change of a mean rho against the baseline's, in percent of the latter."""
    return round(100 * (rho - BASELINE_MEAN) / BASELINE_MEAN, 1)


def _best(found: Sequence[Scores]) -> float:
    rhos = [[one["rho"] for one in scores["of"].values()] for scores in found]
    return round(float(np.max(rhos, 0).mean()), 4)


def draw(path: Path, own: Sequence[Classifier]) -> None:
    """Figure 3: mean rho, a group of bars for each features, a bar for each architecture."""
    features = list(dict.fromkeys(c.start for c in own))
    heads = list(dict.fromkeys(c.method for c in own))
    width = 0.8 / len(heads)
    with matplotlib.style.context(plots.STYLE):
        figure = Figure((7.2, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for number, head in enumerate(heads):
            named = {c.start: c.scores for c in own if c.method == head}
            at = [features.index(name) + (number - (len(heads) - 1) / 2) * width for name in named]
            colour = (plots.INK, plots.SECOND)[number % 2]
            label = f"{ARCHITECTURES[head]}: {head}" if head in ARCHITECTURES else head
            rhos = [scores["rho"] for scores in named.values()]
            bars = axes.bar(at, rhos, 0.92 * width, color=colour, label=label)
            axes.bar_label(
                bars, fmt="%.3f", fontsize=7, label_type="center", path_effects=plots.HALO
            )
            for place, scores in zip(at, named.values(), strict=True):
                if "rho_low" in scores:
                    ends = scores["rho_low"], scores["rho_high"]
                    axes.plot(
                        [place, place], ends, color="black", linewidth=1, path_effects=plots.HALO
                    )
        axes.axhline(
            BASELINE_MEAN,
            color="black",
            linestyle="--",
            linewidth=1,
            path_effects=plots.HALO,
            label=f"baseline {BASELINE_MEAN:.3f} (Hume-Prosody)",
        )
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xticks(range(len(features)), features)
        bounded = any("rho_low" in c.scores for c in own)
        label = "mean ρ on test" + ", 95 % over speakers" * bounded
        axes.set(ylabel=label, xlim=(-0.6, len(features) - 0.4))
        figure.suptitle("emotion share: features and architecture")
        axes.legend(frameon=False, fontsize=7, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
        plots.save(figure, path)
