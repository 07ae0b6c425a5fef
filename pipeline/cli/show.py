"""``ser show``: a short table of what was measured, and where the pictures are."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.ground.errors import PipelineError

RESULTS = Path("results")
# Shown of a task's scores, in the order that they have: systems are compared by the first.
COLUMNS = ("uar", "ccc", "rho", "war", "f1_macro", "eer", "js", "pearson", "mae")


def main(
    experiments: Annotated[
        bool, typer.Option("--experiments", help="All experiments, seeds pooled.")
    ] = False,
) -> None:
    """Print a short table of what was measured, and where the pictures are.

    Scores that `params.yaml` and the artefacts have left behind are said to be old.
    """
    from rich.console import Console

    console = Console(highlight=False)
    if experiments:
        _show_experiments(console)
        return
    from pipeline.cli import currency
    from pipeline.ground import files

    path = RESULTS / "metrics.json"
    try:
        _show(console, files.read_json(path))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise PipelineError(f"{path}: not what evaluate writes, run `dvc repro evaluate`") from None
    for line in currency.doubts(RESULTS):
        console.print(f"NOT CURRENT: {line}", style="bold", soft_wrap=True, markup=False)


def _show(console: Any, metrics: dict[str, Any]) -> None:
    from pipeline.scoring import trained_on

    for task in _tasks(metrics):
        if metrics[task]:
            columns = _columns(metrics[task])
            console.print(_table(task, columns, metrics[task], metrics["protocol"]))
    for features, methods in metrics.get("cross", {}).items():
        for method, cells in methods.items():
            console.print(_crossed(f"{features} {method}", cells))
    for line in _stressed(metrics.get("stress", {})):
        console.print(line, soft_wrap=True, markup=False)
    protocol = metrics["protocol"]
    for line in trained_on.remarks(protocol):
        console.print(line, soft_wrap=True, markup=False)
    independent = "" if protocol["speaker_independent"] else "NOT "
    console.print(f"{independent}speaker-independent, {protocol['folds']} folds")
    if "train_share" in protocol:
        console.print(f"trained on {protocol['train_share']:.0%} of the training speakers alone")
    for task, left_out in protocol.get("left_out", {}).items():
        counts = ", ".join(f"{count} {emotion}" for emotion, count in left_out.items())
        console.print(f"{task}: utterances of no class, left out: {counts}", soft_wrap=True)
    console.print(f"report: {RESULTS}/report.html, pictures: {RESULTS}/plots", soft_wrap=True)


def _stressed(found: dict[str, Any]) -> list[str]:
    """Of each classifier that was judged again: as recorded, in the mean, at the worst."""
    lines = []
    for task, starts in found.items():
        for start, methods in starts.items():
            for method, one in methods.items():
                name = "uar" if "uar_of" in one else "ccc"
                (_, clean), *under = one[f"{name}_of"]
                lines.append(
                    f"under stress, {task} {start} {method}: {name.upper()} {clean:.3f} as "
                    f"recorded, {one[f'{name}_mean']:.3f} over {len(under)} conditions, "
                    f"{one[f'{name}_worst']:.3f} under {one['worst'][0]}"
                )
    return lines


def _tasks(metrics: dict[str, Any]) -> list[str]:
    from pipeline.scoring import active

    return [name for name in metrics if name not in active.BESIDE]


def _columns(systems: dict[str, Any]) -> list[str]:
    """The scores that a task's systems have."""
    every = [name for methods in systems.values() for one in methods.values() for name in one]
    return [name for name in dict.fromkeys(every) if name in COLUMNS]


def _table(task: str, columns: list[str], systems: dict[str, Any], protocol: dict[str, Any]) -> Any:
    from pipeline.scoring.trained_on import marked

    table = _new(task, *columns, "95 %")
    for start, methods in systems.items():
        for method, found in methods.items():
            scores = [f"{found[name]:.3f}" if name in found else "-" for name in columns]
            pair = found.get(f"{columns[0]}_95")
            interval = f"{pair[0]:.3f} to {pair[1]:.3f}" if pair else "-"
            table.add_row(marked(f"{start} {method}", protocol), *scores, interval)
    return table


def _crossed(name: str, cells: dict[str, float]) -> Any:
    """UAR by the corpus trained on (rows) and tested on (columns)."""
    names = list(dict.fromkeys(corpus for pair in cells for corpus in pair.split(">")))
    table = _new(f"cross: {name}", *names)
    for train in names:
        row = [cells.get(f"{train}>{test}") for test in names]
        table.add_row(train, *("-" if uar is None else f"{uar:.3f}" for uar in row))
    return table


def _show_experiments(console: Any) -> None:
    """One row for each system of each group of experiments that differ in the seed alone.

    What a group is stands below: names and settings of any length would push the numbers off.
    """
    from pipeline.scoring.experiments import differences, every, groups

    found = groups([one for one in every() if one.metrics()])
    if not found:
        console.print("no experiments, see `dvc exp run`")
        return
    measured = [one.metrics() or {} for group in found for one in group]
    for task in dict.fromkeys(task for metrics in measured for task in _tasks(metrics)):
        known = [column for metrics in measured for column in _columns(metrics.get(task, {}))]
        column = next(iter(known), "")
        table = _new(task, "group", "seeds", f"{column} mean", "sd")
        for number, group in enumerate(found, 1):
            for system, scores in _scores(group, task, column).items():
                table.add_row(system, str(number), *_pooled(scores))
        if table.row_count:
            console.print(table)
    for line in sorted({line for group in found for line in _remarks(group)}):
        console.print(line, soft_wrap=True, markup=False)
    for number, (group, changed) in enumerate(zip(found, differences(found), strict=True), 1):
        console.print(
            f"group {number}: {', '.join(one.name for one in group)}", soft_wrap=True, markup=False
        )
        for line in changed.splitlines():
            console.print(f"  {line}", soft_wrap=True, markup=False)


def _remarks(group: Any) -> list[str]:
    from pipeline.scoring.trained_on import remarks

    return [line for one in group for line in remarks(one.metrics().get("protocol", {}))]


def _pooled(scores: list[float]) -> tuple[str, str, str]:
    """How many, their mean and their standard deviation."""
    import statistics

    spread = f"{statistics.stdev(scores):.3f}" if len(scores) > 1 else "-"
    return str(len(scores)), f"{statistics.mean(scores):.3f}", spread


def _scores(group: Any, task: str, column: str) -> dict[str, list[float]]:
    """Each system's score with each seed."""
    from pipeline.scoring.trained_on import marked

    found: dict[str, list[float]] = {}
    for one in group:
        metrics = one.metrics()
        for start, methods in metrics.get(task, {}).items():
            for method, scores in methods.items():
                if column in scores:
                    name = marked(f"{start} {method}", metrics.get("protocol", {}))
                    found.setdefault(name, []).append(scores[column])
    return found


def _new(first: str, *columns: str) -> Any:
    """A table whose first column folds where the line is too short, so that no number is cut."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold", min_width=12)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table
