"""``ser compare A B``: whether classifiers of one experiment are better than those of another."""

from typing import Annotated, Any

import typer

from pipeline.ground import ending
from pipeline.ground.errors import PipelineError


def main(
    experiment_a: Annotated[str, typer.Argument(help="An experiment, commit or `workspace`.")],
    experiment_b: Annotated[str, typer.Argument(help="What it is compared with.")],
    seeds: Annotated[
        bool, typer.Option("--seeds", help="Pool all experiments that differ in the seed alone.")
    ] = False,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples of the speakers.")] = 2000,
) -> None:
    """Test whether one experiment is better than another, on the same test utterances.

    For each classifier that both have: the UAR of A and of B, the difference B - A with a 95 %
    interval from a bootstrap over speakers and a sign-flip p over speakers, recalls by class. Of
    dimensions it is the mean CCC, and that of each.
    Predictions come from DVC's cache (`dvc pull` first, if they lie elsewhere).
    """
    from pipeline.scoring.comparison import compare, compare_dimensions
    from pipeline.scoring.experiments import Experiment, repetitions
    from pipeline.scoring.scores import Bootstrap
    from pipeline.scoring.trained_on import marked, remarks

    if experiment_a == experiment_b:
        raise PipelineError(f"compare: {experiment_a} is named twice, name what to compare it with")
    group_a, group_b = (
        repetitions(name) if seeds else [Experiment(name)] for name in (experiment_a, experiment_b)
    )
    a, b = group_a[0], group_b[0]
    if seeds and a.settings == b.settings:
        raise PipelineError(
            f"compare: {experiment_a} and {experiment_b} have the same settings but for the seed, "
            "so that --seeds makes one group of both, name two settings or leave it out"
        )
    common = [system for system in a.systems if system in b.systems]
    if not common:
        raise PipelineError(
            "compare: the experiments share no task, start and method, choose others"
        )
    for system in common:
        if a.names(system) != b.names(system) or a.target(system) != b.target(system):
            raise PipelineError(
                f"compare: the experiments differ in what task.{system[0]} predicts, choose others"
            )
    if seeds:
        for group in (group_a, group_b):
            typer.echo(", ".join(f"{one.name} (seed {one.seed})" for one in group))
    protocols = [(one.metrics() or {}).get("protocol", {}) for one in (*group_a, *group_b)]
    for system in common:
        tested_a, tested_b = (
            [_predictions(one, system) for one in group] for group in (group_a, group_b)
        )
        names, drawn = a.names(system), Bootstrap(resamples, 1)
        stars = [marked(" ".join(system), protocol, system[-2:]) for protocol in protocols]
        shown = max(stars, key=len)
        if a.target(system) == "dimensions":
            values = compare_dimensions(tested_a, tested_b, drawn)
            typer.echo(_of_dimensions(shown, values, names))
        else:
            decided_a, decided_b = (
                [one.of(one.truth >= 0) for one in group] for group in (tested_a, tested_b)
            )
            found = compare(decided_a, decided_b, len(names), drawn)
            typer.echo(_text(shown, found, names))
    for line in sorted({line for protocol in protocols for line in remarks(protocol)}):
        typer.echo(line)


def _predictions(experiment: Any, system: tuple[str, str, str]) -> Any:
    with ending.folder() as folder:
        return experiment.predictions(system, folder)


def _text(name: str, found: Any, classes: list[str]) -> str:
    change = found.uar_b - found.uar_a
    lines = [
        f"{name}: UAR {found.uar_a:.3f} -> {found.uar_b:.3f}, difference {change:+.3f} "
        f"({found.utterances} utterances, {found.speakers} speakers)"
    ]
    if max(len(found.seeds_a), len(found.seeds_b)) > 1:
        spread = " -> ".join(
            f"{len(uars)} seeds, {min(uars):.3f} to {max(uars):.3f}"
            for uars in (found.seeds_a, found.seeds_b)
        )
        lines.append(f"  {spread}")
    lines.append(_test(found, "sign-flip"))
    for label, a, b in zip(classes, found.recall_a, found.recall_b, strict=True):
        lines.append(f"  {label:12} {a:.3f} -> {b:.3f} ({b - a:+.3f})")
    return "\n".join(lines)


def _of_dimensions(name: str, found: Any, names: list[str]) -> str:
    change = found.ccc_b - found.ccc_a
    lines = [
        f"{name}: CCC {found.ccc_a:.3f} -> {found.ccc_b:.3f}, difference {change:+.3f} "
        f"({found.utterances} utterances, {found.speakers} speakers)",
        _test(found, "speaker-swap"),
    ]
    for label, a, b in zip(names, found.each_a, found.each_b, strict=True):
        lines.append(f"  {label:12} {a:.3f} -> {b:.3f} ({b - a:+.3f})")
    return "\n".join(lines)


def _test(found: Any, kind: str) -> str:
    if found.p is None:
        return "  no interval or test below 5 speakers"
    low, high = found.interval
    how = "exact" if found.exact else "sampled"
    return f"  95 % {low:+.3f} to {high:+.3f}, {how} {kind} p {found.p:.4f}"
