"""Score every classifier, draw the pictures, write the report.

The last stage. What it reads is named by ``params.yaml`` alone, so that nothing that is no longer
active leaks in.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from pipeline.corpora import manifest
from pipeline.ground import files, live, runs
from pipeline.ground.params import KEYS, Section, load
from pipeline.ground.provenance import Provenance
from pipeline.ground.stage import run
from pipeline.scoring import active
from pipeline.splits import folds

if TYPE_CHECKING:
    from pipeline.scoring.believe.doubts import Doubts
    from pipeline.scoring.believe.leaders import Leader
    from pipeline.scoring.evaluation import Run

RESULTS = Path("results")

# What the report quotes and the stage depends on: all that leads to scores.
SETTINGS = tuple(k for k in KEYS if k not in ("runtime", "corpus", "encoder", "synthesize"))


class EvaluateParams(Section):
    """How the intervals come about, and what is averaged."""

    bootstrap: Annotated[int, Field(ge=100, le=1_000_000)]
    ensembles: dict[str, active.Ensemble]


def main() -> None:
    """Write results/metrics.json, scores.json, tables, plots, report.html and their provenance."""
    from pipeline.report import sections
    from pipeline.scoring import crossed, evaluation, protocols, trained_on
    from pipeline.scoring.believe import doubts, fused, leaders
    from pipeline.scoring.scores import Bootstrap
    from pipeline.scoring.trust import trusted
    from pipeline.splits import scope, targets

    corpora, adapted = load("corpora", list[str]), load("adapted", list[int])
    bootstrap = Bootstrap(load("evaluate", EvaluateParams).bootstrap, load("seed", int))
    params = active.checked()
    systems, ensembles = active.classifiers(params), active.ensembles(params)
    results = [manifest.ARTIFACTS / f / n for f, ns in active.results(params).items() for n in ns]
    read = [*manifest.folders(corpora), folds.FOLDS, *results]
    determined = Provenance.of(RESULTS, SETTINGS, read)

    clips, made = manifest.read(corpora), folds.read_all()
    tasks = {name: targets.of(name) for name in active.tasks(params)}
    named = {fold for used in systems.values() for fold in used}
    tests = evaluation.test_utterances(clips, {fold: folds.of(made, fold) for fold in named})
    systems, beside = protocols.separate(systems, clips, made)
    classifiers, shared = (
        [
            *evaluation.score_classifiers(chosen, tasks, bootstrap, tests),
            *fused.score(ensembles, chosen, tasks, bootstrap),
        ]
        for chosen in (systems, beside)
    )
    matrices = crossed.score(active.crossed(params), corpora, bootstrap)
    trust = trusted.score(params, tasks, classifiers, clips, bootstrap)
    used = {fold for trained in systems.values() for fold in trained}
    about = evaluation.protocol(clips, sorted(used), made, load("split.by", str), bootstrap)
    about |= evaluation.thinned(load("split.train_share", float), clips, sorted(used), made)
    trained = {c.task: tasks[c.task] for c in classifiers}
    if out := scope.left_out_of(trained, clips):
        about["left_out"] = out
    known = trained_on.met_by(_folders(systems, params), ensembles)
    about |= {trained_on.KEY: known} if known else {}
    settings = {key: load(key, object) for key in SETTINGS}
    audits = evaluation.audits(corpora)
    units = evaluation.units(adapted)
    evaluated = evaluation.Run(
        tasks, clips, about, classifiers, units, audits, settings, shared, matrices, trust
    )
    doubted = doubts.find(systems, tasks)
    leading = leaders.find(classifiers, bootstrap)
    determined.require_same()
    _publish(evaluated, leading, doubted)
    ran = sections.environment_page(runs.read(determined.lineage()))
    files.write_text(RESULTS / sections.ENVIRONMENT, ran)
    determined.write(RESULTS)
    live.clear()


def _publish(run: "Run", leading: Sequence["Leader"], doubted: Mapping[str, "Doubts"]) -> None:
    """Write tables, pictures, recordings, the page that shows them, and the scores."""
    from pipeline.report import corpora_table, page, sections, share_section
    from pipeline.report.believe import doubts_section, fusion_section, result_section
    from pipeline.report.trust.order import SECTIONS
    from pipeline.scoring import crossed, evaluation
    from pipeline.scoring.trust import trusted

    with files.publish(RESULTS / "tables") as tables:
        evaluation.write_tables(tables, run.classifiers)
        crossed.write_tables(tables, run.crossed)
        trusted.write_tables(tables, run.trust)
        share_section.write(tables, run)
        corpora_table.write(tables, run.clips, run.counted)
        doubts_section.write(tables, doubted, run.clips)
    with files.publish(RESULTS / doubts_section.LISTEN) as listen:
        listen.mkdir()
        further = [fusion_section.section(run), *doubts_section.sections(run, doubted, listen)]
    with files.publish(RESULTS / "plots") as plots:
        plots.mkdir()
        further += [make(run, plots) for make in SECTIONS]
        first = result_section.section(leading, run, plots)
        shown = page.page(sections.of(run, plots, first, further))
    files.write_text(RESULTS / "report.html", shown)
    scores = evaluation.as_json(run)
    files.write_json(RESULTS / "scores.json", scores)
    short = evaluation.headline(scores, run.tasks) | trusted.headline(run.trust)
    files.write_json(RESULTS / "metrics.json", short)


def _folders(
    systems: Mapping[active.System, Sequence[int]],
    params: Mapping[str, Any],
) -> dict[str, Path]:
    """Where one of each system lies; what its encoder met before is the same in every task."""
    found = {
        f"{start} {method}": manifest.ARTIFACTS / f"classifiers/{task}/{start}/{method}/{used[0]}"
        for (task, start, method), used in systems.items()
    }
    for task, name in active.probes(params):
        found[f"{name} probe"] = manifest.ARTIFACTS / "probes" / task / name
    return found


if __name__ == "__main__":
    run(main)
