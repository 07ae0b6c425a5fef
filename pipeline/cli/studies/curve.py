"""``ser curve``: what more training speakers bring, from experiments on shares of them."""

from typing import Annotated, Any

import typer

from pipeline.ground.errors import PipelineError


def main(
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples of the speakers.")] = 2000,
) -> None:
    """Print scores by the number of training speakers, and what the last doubling brought.

    `dvc exp run --queue -S split.train_share=0.1,0.25,0.5,1.0`, then `dvc queue start`, runs them;
    test and dev are the same in all. Seeds are pooled: each draws other speakers. Intervals are
    95 %, by a bootstrap over the speakers tested.
    """
    from rich.console import Console

    from pipeline.scoring.believe import curves, rows
    from pipeline.scoring.experiments import every
    from pipeline.scoring.scores import Bootstrap

    found, drawn = curves.studies(every()), Bootstrap(resamples, 1)
    if not found:
        raise PipelineError(
            f"curve: no two experiments differ in {curves.SHARE} alone, run `dvc exp run --queue "
            f"-S {curves.SHARE}=0.1,0.25,0.5,1.0` and `dvc queue start`"
        )
    console = Console(highlight=False)
    for study in found:
        first = next(iter(study.values()))[0]
        everyone = [one for group in study.values() for one in group]
        for system in rows.folds(first):
            if all(system in rows.folds(one) for one in everyone):
                points = curves.points(study, system, drawn)
                console.print(_table(" ".join(system), points))
                last = curves.last_doubling(points, len(first.names(system)), drawn)
                console.print(_said(last, points[-1]), soft_wrap=True, markup=False)


def _table(title: str, points: Any) -> Any:
    from rich import box
    from rich.table import Table

    name = _score(points[0])
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for column in ("share", "training speakers", "seeds", name.upper(), "95 %"):
        table.add_column(column, justify="right")
    for point in points:
        pair = [f"{point.scores[f'{name}_{end}']:.3f}" for end in ("low", "high")
                if f"{name}_{end}" in point.scores]  # fmt: skip
        told = [f"{point.share:.0%}", f"{point.speakers:.1f}", str(len(point.told))]
        table.add_row(*told, f"{point.scores[name]:.3f}", " to ".join(pair) or "-")
    return table


def _score(point: Any) -> str:
    return "ccc" if "ccc" in point.scores else "uar"


def _said(last: Any, top: Any) -> str:
    """One line: what was measured, and what may be hoped for."""
    name, tested = _score(top).upper(), top.scores["speakers"]
    told = (
        f"From {last.before.speakers:.1f} to {last.after.speakers:.1f} training speakers {name} "
        f"changed by {last.gain:+.3f}"
    )
    if last.interval is None:
        return f"{told}; {tested} test speakers are too few to say whether that is chance."
    low, high = last.interval
    told += f" (95 % {low:+.3f} to {high:+.3f}, p {last.p:.3f}, {tested} test speakers)"
    if low > 0:
        return f"{told}: more speakers help, as many again by about as much at most."
    if high < 0:
        return f"{told}: more of these speakers did harm."
    return f"{told}: no more than chance may bring, and more speakers promise nothing."
