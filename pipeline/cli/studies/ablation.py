"""``ser ablation``: experiments as the tables of GMP-ATL's ablation study (Tables 3 and 4)."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from pipeline.ground import ending
from pipeline.ground.errors import PipelineError

LAYER, LOSS = "frames.layer", "finetune.loss.name"
STARTS = {"pretrained": "no", "retrained": "yes"}  # without and with pseudo-labels
LOSSES = {"ce": "CE", "am-softmax": "AMS"}


def main(
    method: Annotated[str, typer.Option(help="How fine-tuning adapted the encoder.")] = "full",
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples of the speakers.")] = 2000,
) -> None:
    """Print what pseudo-labels, the loss and the layer change, from the experiments of this clone.

    `make ablation` runs them. UAR and WAR are in percent, averaged over folds as in the paper; the
    95 % interval is that of the pooled UAR, from a bootstrap over speakers. Seeds are pooled.
    """
    from rich.console import Console

    from pipeline.scoring.experiments import every

    studies = [study for study in _studies(every()) if len(study) > 1]
    if not studies:
        raise PipelineError(
            f"ablation: no two experiments differ in {LOSS} or {LAYER} alone, run `make ablation`"
        )
    console = Console(highlight=False)
    scored = [one for study in studies for group in study.values() for one in group]
    for line in sorted({line for one in scored for line in _remarks(one)}):
        console.print(line, soft_wrap=True, markup=False)
    for study in studies:
        for title, wanted in (("Table 3", _grid(study)), ("Table 4", _layers(study))):
            console.print(_table(title, study, wanted, method, resamples))


def _remarks(experiment: Any) -> list[str]:
    """What is to be said of all its scores: an ablation has one encoder."""
    from pipeline.scoring.trained_on import remarks

    metrics = experiment.metrics()
    return remarks(metrics["protocol"]) if metrics else []


def _studies(experiments: Iterable[Any]) -> list[dict[tuple[Any, str], list[Any]]]:
    """Experiments by layer and loss, seeds together; one study for each set of other settings."""
    from pipeline.ground import files

    studies: dict[str, dict[tuple[Any, str], list[Any]]] = {}
    for one in experiments:
        others = {key: value for key, value in one.settings.items() if key not in (LAYER, LOSS)}
        cell = one.settings[LAYER], one.settings[LOSS]
        studies.setdefault(files.digest(others), {}).setdefault(cell, []).append(one)
    return list(studies.values())


def _grid(study: Any) -> list[tuple[str, Any, str]]:
    """Table 3: start, layer and loss of its rows, at the layer that was run with both losses."""
    layers = [layer for layer, _ in study if all((layer, loss) in study for loss in LOSSES)]
    return [(start, layers[0], loss) for start in STARTS for loss in LOSSES if layers]


def _layers(study: Any) -> list[tuple[str, Any, str]]:
    """Table 4: all layers with the paper's loss, from the top."""
    layers = [layer for layer, loss in study if loss == "am-softmax"]
    return [("retrained", layer, "am-softmax") for layer in sorted(layers, key=_depth)]


def _depth(layer: Any) -> int:
    """How far below the top a layer is; ``last`` is the top."""
    return -layer if isinstance(layer, int) else 0


def _table(
    title: str, study: Any, rows: Sequence[tuple[str, Any, str]], method: str, resamples: int
) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=f"GMP-ATL, {title}", title_justify="left")
    for name in ("GMPs", "loss", "layer", "UAR", "sd", "WAR", "pooled UAR", "95 %"):
        table.add_column(name, justify="left" if name in ("GMPs", "loss") else "right")
    for start, layer, loss in rows:
        found = _scores(study[layer, loss], start, method, resamples)
        shown = [f"{100 * found[k]:.1f}" if k in found else "-" for k in ("uar_mean", "uar_sd")]
        pair = [f"{100 * found[key]:.1f}" for key in ("uar_low", "uar_high") if key in found]
        pooled = f"{100 * found['uar']:.1f}"
        war = f"{100 * found['war_mean']:.1f}"
        interval = " to ".join(pair) or "-"
        table.add_row(STARTS[start], LOSSES[loss], str(layer), *shown, war, pooled, interval)
    return table


def _scores(experiments: Sequence[Any], start: str, method: str, resamples: int) -> dict[str, Any]:
    """The scores of one system over all folds and seeds, in the task that multi-task learns."""
    from dataclasses import fields

    import numpy as np

    from pipeline.scoring.scores import Bootstrap, Predictions, classification

    parts = []
    for one in experiments:
        system = one.params["multitask"]["task"], start, method
        if system not in one.systems:
            raise PipelineError(f"{one.name}: {' '.join(system)} was not active, see `methods`")
        with ending.folder() as folder:
            parts.append(one.predictions(system, folder))
    names = [field.name for field in fields(Predictions)]
    pooled = Predictions(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))
    hits = pooled.guess.argmax(1) == pooled.truth
    wars = [hits[pooled.fold == fold].mean() for fold in np.unique(pooled.fold)]
    if experiments[0].target(system) != "emotion":
        raise PipelineError(
            f"ablation: multitask.task is {system[0]!r}, whose target is no emotion, "
            "set it to a task of emotion: the tables are of those"
        )
    found = classification(pooled, experiments[0].names(system), Bootstrap(resamples, 1))
    return found | {"war_mean": float(np.mean(wars))}
