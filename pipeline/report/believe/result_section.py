"""The report's first section: what did best, and how sure that is, in a sentence and a picture."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.report import plots
from pipeline.report.page import Section
from pipeline.scoring.believe.leaders import Leader
from pipeline.scoring.evaluation import Classifier, Run
from pipeline.scoring.trained_on import marked

SURE = 0.05


def section(leaders: Sequence[Leader], run: Run, folder: Path) -> Section | None:
    """A sentence for each task, a picture for each that has classes; None without any."""
    if not leaders:
        return None
    unseen = run.protocol["speaker_independent"]
    heard = "none of these has heard" if unseen else "these may have heard"
    told = [f"Tested on speakers whom {heard}.", *(_sentence(one, run) for one in leaders)]
    drawn = []
    for one in leaders:
        task = one.best.task
        own = {_row(c): c.scores for c in run.classifiers if c.task == task}
        if "uar" in one.best.scores:
            drawn.append(folder / f"comparison-{task}.png")
            chance = 1 / len(one.best.classes)
            plots.comparison(drawn[-1], f"{task}: start and method", own, chance)
    return Section("Result", told, pictures=drawn)


def _row(c: Classifier) -> str:
    return f"{c.start} {c.method}"


def _sentence(one: Leader, run: Run) -> str:
    best, scores = one.best, one.best.scores
    key = "uar" if "uar" in scores else "ccc"
    what = "UAR" if key == "uar" else "mean CCC"
    low, high = (scores.get(f"{key}_{end}") for end in ("low", "high"))
    between = f" (95 %: {low:.3f} to {high:.3f})" if low is not None and high is not None else ""
    chance = f", where guessing has {1 / len(best.classes):.3f}" if key == "uar" else ""
    name = marked(_row(best), run.protocol)
    first = f"{best.task.capitalize()}: {name} is best of {one.count}, {what} {one.score:.3f}"
    return f"{first}{between}{chance}. {_sure(one)}".strip()


def _sure(one: Leader) -> str:
    if not (one.behind and one.gain):
        return ""
    ahead = f"{one.gain['gain']:.3f} above {_row(one.behind)}"
    if "gain_p" not in one.gain:
        return f"It is {ahead}; too few speakers were tested to say whether by chance."
    p = one.gain["gain_p"]
    chance = "more than chance would give" if p < SURE else "which may be chance"
    return f"It is {ahead}, {chance} (p {p:.3f}, paired by speaker)."
