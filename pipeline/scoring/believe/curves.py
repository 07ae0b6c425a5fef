"""What more training speakers bring: experiments on nested shares of them, on the same test.

A power law through a few noisy points promises what nobody measured. What is said is what the last
doubling brought, tested over speakers; one more brings about as much at most, since curves flatten.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.ground import ending, files
from pipeline.scoring import comparison, ratings, scores
from pipeline.scoring.active import System
from pipeline.scoring.believe import rows
from pipeline.scoring.experiments import Experiment
from pipeline.scoring.scores import Bootstrap, Predictions, Scores

SHARE = "split.train_share"

Study = dict[float, list[Experiment]]  # by share, ascending; seeds together


@dataclass(frozen=True)
class Point:
    """One share: its training speakers, mean over folds and seeds, its seeds and their scores."""

    share: float
    speakers: float
    told: Sequence[Predictions]
    scores: Scores


@dataclass(frozen=True)
class Doubling:
    """What the last doubling of the training speakers brought, or what comes nearest to one."""

    before: Point
    after: Point
    gain: float
    interval: tuple[float, float] | None
    p: float | None


def studies(experiments: Iterable[Experiment]) -> list[Study]:
    """Experiments that differ in the share, and else in the seed alone."""
    found: dict[str, dict[float, dict[int, Experiment]]] = {}
    for one in experiments:
        settings = one.settings
        share = settings.pop(SHARE, None)  # which older versions did not have
        if share is not None:
            study = found.setdefault(files.digest(settings), {})
            study.setdefault(float(share), {}).setdefault(one.seed, one)
    return [
        {share: [seeds[seed] for seed in sorted(seeds)] for share, seeds in sorted(study.items())}
        for study in found.values()
        if len(study) > 1
    ]


def points(study: Study, system: System, bootstrap: Bootstrap) -> list[Point]:
    """The scores of one system by share.

    Raises:
        PipelineError: Predictions, folds or manifests of an experiment are not in DVC's cache.
    """
    return [_point(share, group, system, bootstrap) for share, group in study.items()]


def last_doubling(found: Sequence[Point], outputs: int, bootstrap: Bootstrap) -> Doubling:
    """The gain from about half of the most speakers to all of them, with its paired test.

    Raises:
        PipelineError: The two were not tested on the same utterances.
    """
    after = found[-1]
    before = min(found[:-1], key=lambda one: abs(math.log2(after.speakers / one.speakers) - 1))
    if before.told[0].truth.ndim > 1:
        values = comparison.compare_dimensions(before.told, after.told, bootstrap)
        return Doubling(before, after, values.ccc_b - values.ccc_a, values.interval, values.p)
    pair = [[one.of(one.truth >= 0) for one in point.told] for point in (before, after)]
    uars = comparison.compare(pair[0], pair[1], outputs, bootstrap)
    return Doubling(before, after, uars.uar_b - uars.uar_a, uars.interval, uars.p)


def _point(
    share: float, group: Sequence[Experiment], system: System, bootstrap: Bootstrap
) -> Point:
    told, counts = [], []
    for one in group:
        with ending.folder() as folder:
            told.append(rows.predictions(one, system, folder))
        with ending.folder() as folder:
            counts += one.training_speakers(rows.folds(one)[system], folder)
    names, pooled = group[0].names(system), scores.joined(told)
    if group[0].target(system) == "dimensions":
        measured = ratings.dimensions(pooled, names, bootstrap)
    else:
        measured = scores.classification(pooled.of(pooled.truth >= 0), names, bootstrap)
    return Point(share, statistics.fmean(counts), told, measured)
