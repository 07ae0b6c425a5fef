"""``ser search``: hyper-parameters by their score on dev; the test score is looked at once."""

from typing import Annotated, Any

import typer

from pipeline.ground.errors import PipelineError


def main(
    classifier: Annotated[str, typer.Argument(help="TASK/START/METHOD, as in artifacts.")],
    settings: Annotated[
        list[str] | None, typer.Option("-S", help="key=a,b,c; key=low..high; key=low..high:log")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="How many, those of before among them.")] = 20,
    name: Annotated[str, typer.Option(help="Of the search, and of its experiments.")] = "search",
    seed: Annotated[int, typer.Option(help="Of what is tried.")] = 0,
    test: Annotated[
        bool, typer.Option("--test", help="Then score the best on test, once and for all.")
    ] = False,
) -> None:
    """Try settings of a classifier in experiments of DVC, and choose by the score on dev.

    Optuna (extra `search`) draws what is tried; without -S the experiments that there are, such as
    those of a grid by `dvc exp run --queue`, are told by their score on dev. docs/search.md.
    """
    from pipeline.cli.ahead import space as spaces

    parts = classifier.removeprefix("artifacts/classifiers/").strip("/").split("/")
    if len(parts) != 3:
        raise PipelineError(f"search: {classifier!r}: expected TASK/START/METHOD")
    system = (parts[0], parts[1], parts[2])
    if not settings:
        _tell_experiments(system)
        return
    _search(system, spaces.parse(settings), trials, name, seed, test)


def _search(system: Any, space: Any, trials: int, name: str, seed: int, test: bool) -> None:
    from pipeline.ground import files, locks

    with locks.locked(files.LOCKS / files.digest(f"search {name}"), f"search {name}"):
        _chosen(system, space, trials, name, seed, test)


def _chosen(system: Any, space: Any, trials: int, name: str, seed: int, test: bool) -> None:
    from pipeline.cli.ahead import trials as runs

    found = runs.study(name, system, space)
    if found.user_attrs.get(runs.TESTED) and len(runs.finished(found)) < trials:
        raise PipelineError(
            f"search: the test score of {name} was looked at, so no more can be chosen by it, "
            "give another --name"
        )
    while len(runs.finished(found)) < trials:
        runs.run(found, system, space, seed)
    done = runs.finished(found)
    failed = [one for one in done if one.user_attrs[runs.REASON]]
    typer.echo(f"{len(done)} trials, {len(failed)} failed")
    if len(failed) == len(done):
        raise PipelineError(
            f"search: every trial failed, mend what the last one met: {failed[-1].user_attrs}"
        )
    best = found.best_trial.user_attrs
    words = " ".join(f"-S {key}={value}" for key, value in best[runs.SETTINGS].items())
    typer.echo(f"best on dev: {found.best_value:.4f}, experiment {best[runs.EXPERIMENT]}")
    typer.echo(f"dvc exp run {words}")
    if test:
        _test(found, system, best[runs.SETTINGS])


def _test(found: Any, system: Any, settings: dict[str, str]) -> None:
    """Run all of the chosen one and show its scores; a second time, what was shown then."""
    from pipeline.cli.ahead import trials as runs
    from pipeline.scoring.experiments import Experiment

    if not (told := found.user_attrs.get(runs.TESTED)):
        chosen = f"{found.study_name}-chosen"
        runs.experiment(chosen, settings, [])
        metrics = Experiment(chosen).metrics()
        if metrics is None:
            raise PipelineError(f"{chosen}: no results/metrics.json, run `dvc repro evaluate`")
        told = metrics[system[0]][system[1]][system[2]]
        found.set_user_attr(runs.TESTED, told)
    typer.echo(f"on test: {', '.join(f'{key} {value}' for key, value in told.items())}")


def _tell_experiments(system: Any) -> None:
    """Every experiment that has the classifier, the best on dev first."""
    from pipeline.cli.ahead import trials as runs
    from pipeline.scoring.experiments import differences, every

    having = [one for one in every() if system in one.systems]
    if not having:
        raise PipelineError(
            f"search: no experiment has {'/'.join(system)}, run some, or give -S (docs/search.md)"
        )
    changed = differences([[one] for one in having])
    scores = []
    for one, told in zip(having, changed, strict=True):
        try:
            scores.append((runs.of_experiment(one, system), one.name, told))
        except PipelineError as error:
            typer.echo(f"not scored: {error}", err=True)
    for score, name, told in sorted(scores, key=lambda row: (-row[0], row[1])):
        typer.echo(f"{score:.4f}  {name}  {' '.join(told.split())}")
