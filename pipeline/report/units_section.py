"""The report's section on units: how even the clusters are, and what they say of the speech.

Shows what `cluster` counted (`pipeline.units.tally`) in every adapted fold. Named in
`pipeline.report.sections`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.report import plots
from pipeline.report.page import Section, Table
from pipeline.scoring.evaluation import Run
from pipeline.units import tally

FIGURES = {
    "inertia": "inertia",
    "utilisation": "used",
    "entropy_bits": "entropy, bits",
    "smallest": "smallest",
    "median": "median",
    "largest": "largest",
}
NOTES = (
    "K-means units of the encoder's frames, which retraining predicts; means over folds. Inertia "
    "is the squared distance of a frame to its centroid; used is the share of centroids that own "
    "a frame, and sizes are in frames. Centroids are fitted to training frames alone.",
    "Purity is the share of frames whose value is the commonest of their unit, chance what a "
    "single unit would reach, NMI the normalised mutual information. Both grow by chance with the "
    "number of units, and where each has few frames, as in dev: compare them at one scale and "
    "role. Beside an experiment of multitask.epochs=0 they show what multi-task training added.",
)


def section(run: Run, folder: Path) -> Section | None:
    """Sizes, inertia and agreement of each scale on train and dev frames, and a picture."""
    if not run.units:
        return None
    means = tally.mean(list(run.units.values()))
    picture = folder / "units.png"
    title = "units of training frames, mean of folds"
    plots.units(picture, title, {scale: found["train"] for scale, found in means.items()})
    return Section("Units", NOTES, [_clusters(means), _agreement(means)], [picture])


def _clusters(means: Mapping[str, Any]) -> Table:
    rows = [
        [scale, role, *(found[role][name] for name in FIGURES), f"{found['duplicates']:g}"]
        for scale, found in means.items()
        for role in tally.ROLES
    ]
    return Table(["units", "frames", *FIGURES.values(), "duplicates"], rows, "Clusters")


def _agreement(means: Mapping[str, Any]) -> Table:
    rows = [
        [scale, role, name, *(found[role][name][key] for key in ("purity", "chance", "nmi"))]
        for name in tally.ATTRIBUTES
        for scale, found in means.items()
        for role in tally.ROLES
        if found[role][name]
    ]
    return Table(["units", "frames", "attribute", "purity", "chance", "NMI"], rows, "Agreement")
