"""The report's section on ensembles: their members, weights, and gain over the best of them."""

from collections.abc import Sequence

from pipeline.report.page import Section, Table, interval
from pipeline.scoring.evaluation import Classifier, Run
from pipeline.scoring.trained_on import marked

NOTE = (
    "An ensemble averages what its members say of the same utterances: probabilities, calibrated "
    "on each fold's dev where there is one, or values. Weights that are fitted see the dev of "
    "their own fold alone. The gain is in UAR, of dimensions in the mean CCC, over the member that "
    "is best on dev (without dev: on test, which is the hardest to beat), on the same utterances; "
    "its interval resamples speakers, and p flips the sign of what speakers add, of dimensions "
    "swaps their predictions."
)


def section(run: Run) -> Section | None:
    """The ensembles of a run; None where it has none."""
    own = [c for c in run.classifiers if "ensemble" in c.scores]
    if not own:
        return None
    header = ["task, ensemble", "best member", "best on", "gain", "95\u00a0%", "p"]
    gains = Table(header, [_gain(c, run) for c in own])
    members = [row for c in own for row in _members(c)]
    return Section(
        "Fusion",
        [NOTE],
        [gains, Table(["task, ensemble", "member", "weight, by fold"], members, "Members")],
    )


def _gain(c: Classifier, run: Run) -> Sequence[object]:
    told, scores = c.scores["ensemble"], c.scores
    best = " ".join(told["best"].split("/")[1:])
    name = marked(c.shown, run.protocol, (c.start, c.method))
    pair = interval(scores, "gain")
    return [name, best, told["best_on"], scores.get("gain"), pair, scores.get("gain_p")]


def _members(c: Classifier) -> list[Sequence[object]]:
    told = c.scores["ensemble"]
    rows: list[Sequence[object]] = []
    for number, member in enumerate(told["members"]):
        weights = [weights[number] for weights in told["weights"].values()]
        shown = ", ".join(f"{weight:.2f}" for weight in weights) if told["fitted_on"] else "equal"
        rows.append([c.shown, " ".join(member.split("/")[1:]), shown])
    return rows
