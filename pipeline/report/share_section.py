"""The report's section on emotion share, in the form of the paper's tables 1 and 2 and figure 3.

From the scores of every features and head to tables (also as CSV) and pictures. The paper is
"Effect of Attention and Self-Supervised Speech Embeddings on Non-Semantic Speech Tasks", ACM MM
2023; its table 2 measures each mean rho against the challenge's baseline, and so does ours.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

from pipeline.ground import files
from pipeline.report import plots
from pipeline.report.page import Section, Table, interval
from pipeline.scoring.evaluation import Regressor, Run
from pipeline.scoring.scores import Scores
from pipeline.scoring.trained_on import KEY, remarks

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


def section(run: Run, folder: Path) -> Section | None:
    """Every share regressor: rho of each emotion, mean rho, predicted against true shares."""
    if not run.shares:
        return None
    drawn = []
    scored = [r for r in run.shares if "rho" in r.scores]
    if scored:
        drawn.append(folder / "share-architectures.png")
        _draw(drawn[0], scored)
    for r in scored:
        drawn.append(folder / f"share-{r.features}-{r.head}.png")
        title = f"{r.features} {r.head}: emotion shares on test"
        plots.share(drawn[-1], title, r.tested.truth, r.tested.guess, r.scores["rho_of"])
    shown = list(tables(run.shares, run.protocol).values())
    return Section("Emotion share", [*NOTES, *remarks(run.protocol)], shown, drawn)


def tables(shares: Sequence[Regressor], protocol: Scores) -> Mapping[str, Table]:
    """The tables by the name of their CSV file; none where there is no regressor."""
    if not shares:
        return {}
    found = {"share-emotions": _emotions(shares), "share-baseline": _against_baseline(shares)}
    met = {name.partition(" ")[0] for name in protocol.get(KEY, {})}
    return {
        name: replace(table, rows=[_starred(row, met) for row in table.rows])
        for name, table in found.items()
    }


def _starred(row: Sequence[object], met: Collection[object]) -> Sequence[object]:
    """A row, which begins with its features, marked where they met a corpus before."""
    return [f"{row[0]} *", *row[1:]] if row[0] in met else row


def write(folder: Path, shares: Sequence[Regressor], protocol: Scores) -> None:
    """One CSV file for each table, in an existing folder; an unknown value is empty."""
    for name, table in tables(shares, protocol).items():
        files.write_csv(folder / f"{name}.csv", table.header, table.rows)


def _emotions(shares: Sequence[Regressor]) -> Table:
    """Table 1: rho of each emotion by features and architecture, then the baseline's."""
    emotions = shares[0].emotions
    rows = [
        [
            r.features,
            r.head,
            r.scores.get("rho"),
            interval(r.scores, "rho"),
            *(r.scores.get("rho_of", {}).get(emotion) for emotion in emotions),
            r.scores.get("r2"),
            interval(r.scores, "r2"),
            r.scores["utterances"],
            r.scores["speakers"],
        ]
        for r in shares
    ]
    if set(emotions) == set(BASELINE):
        published = [BASELINE[emotion] for emotion in emotions]
        rows.append(["published baseline", None, BASELINE_MEAN, None, *published, *[None] * 4])
    # What counts comes first: nine emotions fill the width of a page.
    header = ["features", "architecture", "mean ρ", "ρ 95\u00a0%", *emotions, "mean R²"]
    caption = "ρ of each emotion (the paper's table 1)"
    return Table([*header, "R² 95\u00a0%", "utterances", "speakers"], rows, caption)


def _against_baseline(shares: Sequence[Regressor]) -> Table:
    """Table 2: mean rho against the published baseline's."""
    rows = []
    for features in dict.fromkeys(r.features for r in shares):
        found = {r.head: r.scores for r in shares if r.features == features and "rho" in r.scores}
        means = {head: scores["rho"] for head, scores in found.items()}
        if len(found) > 1:
            means[BEST] = _best(list(found.values()))
        rows += [[features, head, rho, BASELINE_MEAN, percent(rho)] for head, rho in means.items()]
    header = ["features", "architecture", "mean ρ (a)", "baseline (b)", "100 (a - b) / b"]
    return Table(header, rows, "Mean ρ against the published baseline (the paper's table 2)")


def percent(rho: float) -> float:
    """The change of a mean rho against the baseline's, in percent of the latter."""
    return round(100 * (rho - BASELINE_MEAN) / BASELINE_MEAN, 1)


def _best(found: Sequence[Scores]) -> float:
    rhos = [list(scores["rho_of"].values()) for scores in found]
    return round(float(np.max(rhos, 0).mean()), 4)


def _draw(path: Path, shares: Sequence[Regressor]) -> None:
    """Figure 3: mean rho, a group of bars for each features, a bar for each architecture."""
    features = list(dict.fromkeys(r.features for r in shares))
    heads = list(dict.fromkeys(r.head for r in shares))
    width = 0.8 / len(heads)
    with matplotlib.style.context(plots.STYLE):
        figure = Figure((7.2, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for number, head in enumerate(heads):
            named = {r.features: r.scores for r in shares if r.head == head}
            at = [features.index(name) + (number - (len(heads) - 1) / 2) * width for name in named]
            colour = (plots.INK, plots.SECOND)[number % 2]
            label = f"{ARCHITECTURES[head]}: {head}"
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
        bounded = any("rho_low" in r.scores for r in shares)
        label = "mean ρ on test" + ", 95 % over speakers" * bounded
        axes.set(ylabel=label, xlim=(-0.6, len(features) - 0.4))
        figure.suptitle("emotion share: features and architecture")
        axes.legend(frameon=False, fontsize=7, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
        plots.save(figure, path)
