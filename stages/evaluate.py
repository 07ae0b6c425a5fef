"""Score every classifier and share regressor, draw the pictures, write the report.

The last stage. What it reads is named by ``params.yaml`` alone, so that nothing that is no longer
active leaks in.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from pipeline import active, files, folds, manifest, runs
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
    from pipeline import corpora_table, evaluation, protocols, report, sections, share_section
    from pipeline.scores import Bootstrap
    from pipeline.task import Task

    seed, corpora = load("seed", int), load("corpora", list[str])
    bootstrap = Bootstrap(load("evaluate", EvaluateParams).bootstrap, seed)
    params = active.checked()
    systems, regressors = active.classifiers(params), active.regressors(params)
    share_fold = load("share.fold", int)
    by = load("split.by", str)

    tests = evaluation.test_utterances(corpora, {f for used in systems.values() for f in used})
    task, made = load("task", Task), folds.read_all()
    systems, beside = protocols.separate(systems, manifest.read(corpora), made)
    classifiers = evaluation.score_classifiers(systems, task, bootstrap, tests)
    shared = evaluation.score_classifiers(beside, task, bootstrap, tests)
    shares = evaluation.score_shares(regressors, share_fold, bootstrap)
    used = {fold for trained in systems.values() for fold in trained}
    used |= {share_fold} if regressors else set()
    protocol = evaluation.protocol(corpora, sorted(used), by, bootstrap)
    settings = {key: load(key, object) for key in SETTINGS}
    audits = evaluation.audits(corpora)
    units = evaluation.units(load("adapted", list[int]))
    evaluated = evaluation.Run(protocol, classifiers, shares, units, audits, settings, shared)
    scores = evaluation.as_json(evaluated)
    with files.publish(RESULTS / "tables") as tables:
        evaluation.write_tables(tables, classifiers)
        share_section.write(tables, shares)
        corpora_table.write(tables, corpora)
    with files.publish(RESULTS / "plots") as plots:
        plots.mkdir()
        page = report.page(sections.of(evaluated, plots))
    files.write_text(RESULTS / "report.html", page)
    files.write_text(RESULTS / sections.ENVIRONMENT, sections.environment_page(runs.read()))
    files.write_json(RESULTS / "scores.json", scores)
    files.write_json(RESULTS / "metrics.json", evaluation.headline(scores))


if __name__ == "__main__":
    run(main)
