"""``ser compare A B``: whether classifiers of one experiment are better than those of another."""

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import typer

from pipeline.ground import ending
from pipeline.ground.errors import PipelineError

Row: TypeAlias = tuple[str, str, str]


def main(
    experiment_a: Annotated[str, typer.Argument(help="An experiment, commit or `workspace`.")],
    experiment_b: Annotated[str, typer.Argument(help="What it is compared with.")],
    row_a: Annotated[
        str, typer.Option(help="One row of A alone, such as emotion/ensemble/both.")
    ] = "",
    row_b: Annotated[str, typer.Option(help="The row of B that it is compared with.")] = "",
    seeds: Annotated[
        bool, typer.Option("--seeds", help="Pool all experiments that differ in the seed alone.")
    ] = False,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples of the speakers.")] = 2000,
) -> None:
    """Test whether one experiment is better than another, on the same test utterances.

    For each classifier and ensemble that both have: the UAR of A and of B, the difference B - A
    with a 95 % interval from a bootstrap over speakers and a sign-flip p over speakers, recalls by
    class. Of dimensions it is the mean CCC, and that of each. With --row-a and --row-b for any two
    rows of two experiments, or of one.
    Predictions come from DVC's cache (`dvc pull` first, if they lie elsewhere).
    """
    from pipeline.scoring.experiments import Experiment, repetitions
    from pipeline.scoring.scores import Bootstrap
    from pipeline.scoring.trained_on import remarks

    row_a, row_b = row_a or row_b, row_b or row_a
    if experiment_a == experiment_b and row_a == row_b:
        raise PipelineError(
            f"compare: {experiment_a} is named twice, name what to compare it with, or two of its "
            "rows by --row-a and --row-b"
        )
    group_a, group_b = (
        repetitions(name) if seeds else [Experiment(name)] for name in (experiment_a, experiment_b)
    )
    a, b = group_a[0], group_b[0]
    if seeds and row_a == row_b and a.settings == b.settings:
        raise PipelineError(
            f"compare: {experiment_a} and {experiment_b} have the same settings but for the seed, "
            "so that --seeds makes one group of both, name two settings or leave it out"
        )
    pairs = [(_row(a, row_a), _row(b, row_b))] if row_a else _common(a, b)
    for one, other in pairs:
        _require_alike(a, one, b, other)
    if seeds:
        for group in (group_a, group_b):
            typer.echo(", ".join(f"{one.name} (seed {one.seed})" for one in group))
    for one, other in pairs:
        typer.echo(_compared(group_a, one, group_b, other, Bootstrap(resamples, 1)))
    protocols = [_protocol(one) for one in (*group_a, *group_b)]
    for line in sorted({line for protocol in protocols for line in remarks(protocol)}):
        typer.echo(line)


def _row(experiment: Any, name: str) -> Row:
    """The row of that name, with / between task, start and method.

    Raises:
        PipelineError: The experiment has none.
    """
    from pipeline.scoring.believe import rows

    known: dict[str, Row] = {"/".join(row): row for row in rows.folds(experiment)}
    if name not in known:
        raise PipelineError(
            f"compare: {experiment.name} has no row {name!r}, use one of: {', '.join(known)}"
        )
    return known[name]


def _common(a: Any, b: Any) -> list[tuple[Row, Row]]:
    """Each row that both have, and itself."""
    from pipeline.scoring.believe import rows

    others = rows.folds(b)
    common = [(row, row) for row in rows.folds(a) if row in others]
    if not common:
        raise PipelineError(
            "compare: the experiments share no task, start and method, choose others, or two rows "
            "by --row-a and --row-b"
        )
    return common


def _require_alike(a: Any, one: Row, b: Any, other: Row) -> None:
    if a.names(one) != b.names(other) or a.target(one) != b.target(other):
        tasks = " and ".join(dict.fromkeys([f"task.{one[0]}", f"task.{other[0]}"]))
        raise PipelineError(f"compare: the rows differ in what {tasks} predicts, choose others")


def _compared(
    group_a: Sequence[Any], row_a: Row, group_b: Sequence[Any], row_b: Row, drawn: Any
) -> str:
    """What the test of two rows says, each of the repetitions of one experiment."""
    from pipeline.scoring.comparison import compare, compare_dimensions

    tested_a, tested_b = (
        [_predictions(one, row) for one in group]
        for group, row in ((group_a, row_a), (group_b, row_b))
    )
    names = group_a[0].names(row_a)
    shown = _shown(group_a, row_a, group_b, row_b)
    if group_a[0].target(row_a) == "dimensions":
        return _of_dimensions(shown, compare_dimensions(tested_a, tested_b, drawn), names)
    decided_a, decided_b = (
        [one.of(one.truth >= 0) for one in group] for group in (tested_a, tested_b)
    )
    return _text(shown, compare(decided_a, decided_b, len(names), drawn), names)


def _shown(group_a: Sequence[Any], row_a: Row, group_b: Sequence[Any], row_b: Row) -> str:
    """The name of a row, or of two, with a star where it met a corpus of its tests."""
    from pipeline.scoring.trained_on import marked

    named: dict[Row, set[str]] = {}
    for group, row in ((group_a, row_a), (group_b, row_b)):
        stars = {marked(" ".join(row), _protocol(one), row[-2:]) for one in group}
        named.setdefault(row, set()).update(stars)
    return " -> ".join(max(names, key=len) for names in named.values())


def _protocol(experiment: Any) -> dict[str, Any]:
    found: dict[str, Any] = (experiment.metrics() or {}).get("protocol", {})
    return found


def _predictions(experiment: Any, row: Row) -> Any:
    from pipeline.scoring.believe import rows

    with ending.folder() as folder:
        return rows.predictions(experiment, row, folder)


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
