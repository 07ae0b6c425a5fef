"""Score every classifier and share regressor, draw the pictures, write the report.

The last stage. What it reads is named by ``params.yaml`` alone, so that nothing that is no longer
active leaks in.
"""

from itertools import product
from pathlib import Path
from typing import Annotated

from pydantic import Field

from pipeline import files
from pipeline.params import KEYS, Section, load
from pipeline.stage import run

RESULTS = Path("results")

# What the report quotes and the stage depends on: all that leads to scores.
SETTINGS = tuple(k for k in KEYS if k not in ("runtime", "corpus", "encoder", "synthesize"))


class EvaluateParams(Section):
    """How the intervals come about."""

    bootstrap: Annotated[int, Field(ge=100, le=1_000_000)]


def main() -> None:
    """Write results/metrics.json, scores.json, tables, plots and report.html."""
    from pipeline import evaluation, report, sections
    from pipeline.scores import Bootstrap
    from pipeline.task import Task

    names = list[str]
    seed, corpora, features = load("seed", int), load("corpora", names), load("features", names)
    bootstrap = Bootstrap(load("evaluate", EvaluateParams).bootstrap, seed)
    systems = [
        *product(features, load("methods.cached", names)),
        *product(["pretrained"], load("methods.pretrained", names)),
        *product(["retrained"], load("methods.retrained", names)),
    ]
    regressors = [*product(load("share.features", names), load("share.heads", names))]
    folds, share_fold = load("folds", list[int]), load("share.fold", int)
    by = load("split.by", str)

    scored = systems if folds else []
    classifiers = evaluation.score_classifiers(scored, folds, load("task", Task), bootstrap)
    shares = evaluation.score_shares(regressors, share_fold, bootstrap)
    used = [*folds, *([share_fold] if regressors else [])]
    protocol = evaluation.protocol(corpora, sorted(set(used)), by, bootstrap)
    settings = {key: load(key, object) for key in SETTINGS}
    audits = evaluation.audits(corpora)
    evaluated = evaluation.Run(protocol, classifiers, shares, audits, settings)
    scores = evaluation.as_json(evaluated)
    with files.publish(RESULTS / "tables") as tables:
        evaluation.write_tables(tables, classifiers)
    with files.publish(RESULTS / "plots") as plots:
        plots.mkdir()
        page = report.page(sections.of(evaluated, plots))
    files.write_text(RESULTS / "report.html", page)
    files.write_json(RESULTS / "scores.json", scores)
    files.write_json(RESULTS / "metrics.json", evaluation.headline(scores))


if __name__ == "__main__":
    run(main)
