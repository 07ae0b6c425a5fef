"""An ensemble of ``evaluate.ensembles`` as one model: its members of one fold, and weights."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import PARAMS_FILE
from pipeline.inference import card, judge, packing, passport
from pipeline.inference.card import Usage
from pipeline.inference.exporting import single
from pipeline.inference.judge import Judge
from pipeline.inference.passport import Passport, Pinned
from pipeline.inference.usage import OURS
from pipeline.methods import calibration, preprocessing
from pipeline.scoring import active, evaluation, lists
from pipeline.scoring.active import System
from pipeline.scoring.believe import fused
from pipeline.scoring.believe.fused import Fused
from pipeline.splits import targets
from pipeline.splits.targets import Task, kind

METHOD = "ensemble"


@dataclass(frozen=True)
class Chosen:
    """The row of an ensemble, one of its folds, its task, and what its members say there."""

    row: System
    fold: int
    task: Task
    fused: Fused

    @property
    def folders(self) -> list[Path]:
        """Where the members lie."""
        systems = [told.system for told in self.fused.tested]
        return [evaluation.CLASSIFIERS.joinpath(*one, str(self.fold)) for one in systems]

    @property
    def name(self) -> str:
        """As results/metrics.json nests it, and the fold."""
        return "/".join([*self.row, str(self.fold)])

    @property
    def weights(self) -> list[float]:
        """Of the members."""
        return self.fused.weights[self.fold]


def named(name: str, fold: int | None) -> Chosen | None:
    """The ensemble of this name in ``params.yaml``; None where there is none.

    Raises:
        PipelineError: It is not sound, its predictions are missing, or it has no such fold.
    """
    if not PARAMS_FILE.is_file():
        return None
    params = active.checked()
    found = {row[2]: (row, one) for row, one in active.ensembles(params).items()}
    if name not in found:
        return None
    lists.check()
    row, one = found[name]
    used = active.classifiers(params)[one.systems[0]]
    if fold is not None and fold not in used:
        raise PipelineError(f"--fold {fold}: use one that {name} has: {', '.join(map(str, used))}")
    chosen = used[0] if fold is None else fold
    task = targets.of(row[0])
    return Chosen(row, chosen, task, fused.read(row, one, [chosen], task))


def judge_of(chosen: Chosen) -> Judge:
    """The ensemble at work, from the folders of the project."""
    members = [judge.load(folder, "cpu") for folder in chosen.folders]
    scales = [told.temperatures.get(chosen.fold, 1.0) for told in chosen.fused.tested]
    return judge.average(
        members, scales, chosen.weights, kind(chosen.task.target), chosen.task.names
    )


def write(chosen: Chosen, out: Path, pin: bool) -> None:
    """Write the members, each a model of its own, and what makes one of them, into a folder.

    Raises:
        PipelineError: The members learnt from clips that were cut in different ways, or ``pin``,
            and an encoder is none that is published.
    """
    made = passport.Ensemble(weights=chosen.weights)
    # A front end has no weights to leave out.
    pinned = {f for f in chosen.folders if pin and packing.Origin.of(f).weights_sha256}
    if pin and not pinned:
        raise PipelineError(
            f"{chosen.row[2]}: no member has an encoder with weights, run it without --pin"
        )
    cutting = {preprocessing.read(folder) for folder in chosen.folders}
    if len(cutting) > 1:
        raise PipelineError(
            f"{chosen.row[2]}: its members learnt from clips that were cut in different ways, run "
            "`dvc repro`"
        )
    told = []
    for folder, name in zip(chosen.folders, made.folders, strict=True):
        (out / name).mkdir()
        told.append(single.write(folder, out / name, folder in pinned))
        packing.seal(out / name)
    made.write(out)
    if cut := cutting.pop():
        preprocessing.write(out, cut)
    _calibrate(chosen, out)
    data = single.data_of(chosen.folders, str(chosen.fold))
    whole = Passport(
        format=1,
        name=chosen.name,
        method=METHOD,
        target=kind(chosen.task.target),
        classes=chosen.task.names,
        encoder=_encoders(told),
        corpora=card.learnt(data) if data else None,
    )
    whole.write(out)
    parts = ", ".join(
        f"`{one.name}` ({weight:g})" for one, weight in zip(told, made.weights, strict=True)
    )
    usage = Usage(OURS.program, OURS.library, f"{OURS.note} It averages {parts}.")
    are_scored = [
        single.measured(folder, one.system, f"{'/'.join(one.system)}/{chosen.fold}")
        for folder, one in zip(chosen.folders, chosen.fused.tested, strict=True)
    ]
    scores = single.scores_of(chosen.row) if all(are_scored) else None
    (out / passport.CARD).write_text(card.text(whole, usage, data, scores), "utf-8")


def _calibrate(chosen: Chosen, out: Path) -> None:
    """What answers to trust, on dev; members that are calibrated make a mean that is left so."""
    dev = chosen.fused.dev
    if not dev or not dev[0].is_of_classes or not all(one.is_calibrated for one in dev):
        return
    said = chosen.fused.said(dev)
    known = said.of(said.truth >= 0)
    if len(known.truth):
        found = calibration.fitted(known.guess, known.truth, is_calibrated=True)
        files.write_json(out / calibration.FILE, found.model_dump())


def _encoders(told: list[Passport]) -> Pinned:
    """The members' encoders by name; each member's own passport pins it."""
    names, licences = (
        ", ".join(dict.fromkeys(filter(None, values)))[:200]
        for values in zip(*((one.encoder.name, one.encoder.licence) for one in told), strict=True)
    )
    return Pinned(name=names, licence=licences)
