"""Score every classifier and share regressor, draw the pictures, write the report.

The last stage. What it reads is named by ``params.yaml`` alone, so that nothing that is no longer
active leaks in.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from pipeline.corpora import manifest
from pipeline.ground import files, live, runs
from pipeline.ground.params import KEYS, Section, load
from pipeline.ground.provenance import Provenance
from pipeline.ground.stage import run
from pipeline.scoring import active
from pipeline.splits import folds

RESULTS = Path("results")

# What the report quotes and the stage depends on: all that leads to scores.
SETTINGS = tuple(k for k in KEYS if k not in ("runtime", "corpus", "encoder", "synthesize"))


class EvaluateParams(Section):
    """How the intervals come about."""

    bootstrap: Annotated[int, Field(ge=100, le=1_000_000)]


def main() -> None:
    """Write results/metrics.json, scores.json, tables, plots, report.html and their provenance."""
    from pipeline.report import corpora_table, page, sections, share_section
    from pipeline.scoring import crossed, evaluation, protocols, trained_on
    from pipeline.scoring.scores import Bootstrap
    from pipeline.splits import scope, targets

    corpora, adapted = load("corpora", list[str]), load("adapted", list[int])
    bootstrap = Bootstrap(load("evaluate", EvaluateParams).bootstrap, load("seed", int))
    params = active.checked()
    systems, regressors = active.classifiers(params), active.regressors(params)
    share_fold = load("share.fold", int)
    results = [manifest.ARTIFACTS / f / n for f, ns in active.results(params).items() for n in ns]
    read = [*manifest.folders(corpora), folds.FOLDS, *results]
    determined = Provenance.of(RESULTS, SETTINGS, read)

    clips, made = manifest.read(corpora), folds.read_all()
    tasks = {name: targets.of(name) for name in active.tasks(params)}
    named = {fold for used in systems.values() for fold in used}
    tests = evaluation.test_utterances(clips, {fold: folds.of(made, fold) for fold in named})
    systems, beside = protocols.separate(systems, clips, made)
    classifiers = evaluation.score_classifiers(systems, tasks, bootstrap, tests)
    shared = evaluation.score_classifiers(beside, tasks, bootstrap, tests)
    matrices = crossed.score(active.crossed(params), corpora, bootstrap)
    shares = evaluation.score_shares(regressors, share_fold, bootstrap)
    used = {fold for trained in systems.values() for fold in trained}
    used |= {share_fold} if regressors else set()
    about = evaluation.protocol(clips, sorted(used), made, load("split.by", str), bootstrap)
    trained = {c.task: tasks[c.task] for c in classifiers}
    if out := scope.left_out_of(trained, clips):
        about["left_out"] = out
    known = trained_on.met_by(_folders(systems, regressors, params))
    about |= {trained_on.KEY: known} if known else {}
    settings = {key: load(key, object) for key in SETTINGS}
    audits = evaluation.audits(corpora)
    units = evaluation.units(adapted)
    evaluated = evaluation.Run(
        tasks, clips, about, classifiers, shares, units, audits, settings, shared, matrices
    )
    scores = evaluation.as_json(evaluated)
    determined.require_same()
    with files.publish(RESULTS / "tables") as tables:
        evaluation.write_tables(tables, classifiers)
        crossed.write_tables(tables, matrices)
        share_section.write(tables, shares, about)
        corpora_table.write(tables, clips, evaluated.counted)
    with files.publish(RESULTS / "plots") as plots:
        plots.mkdir()
        shown = page.page(sections.of(evaluated, plots))
    files.write_text(RESULTS / "report.html", shown)
    files.write_text(RESULTS / sections.ENVIRONMENT, sections.environment_page(runs.read()))
    files.write_json(RESULTS / "scores.json", scores)
    files.write_json(RESULTS / "metrics.json", evaluation.headline(scores, tasks))
    determined.write(RESULTS)
    live.clear()


def _folders(
    systems: Mapping[active.System, Sequence[int]],
    regressors: Sequence[active.Regressor],
    params: Mapping[str, Any],
) -> dict[str, Path]:
    """Where one of each system lies; what its encoder met before is the same in every task."""
    found = {
        f"{start} {method}": manifest.ARTIFACTS / f"classifiers/{task}/{start}/{method}/{used[0]}"
        for (task, start, method), used in systems.items()
    }
    for name, head in regressors:
        found[f"{name} {head}"] = manifest.ARTIFACTS / "share" / name / head
    for task, name in active.probes(params):
        found[f"{name} probe"] = manifest.ARTIFACTS / "probes" / task / name
    return found


if __name__ == "__main__":
    run(main)
