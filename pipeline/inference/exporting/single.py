"""One classifier as a model that needs no project: weights, settings, passport and card."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.corpora import manifest
from pipeline.ground import files, provenance
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import load
from pipeline.ground.progress import say
from pipeline.inference import card, lineage, packing
from pipeline.inference.card import Data
from pipeline.inference.packing import Origin
from pipeline.inference.passport import CARD, Passport
from pipeline.scoring.active import System
from pipeline.splits import folds

SCORES = Path("results/scores.json")


def write(folder: Path, out: Path, pin: bool) -> Passport:
    """Write the classifier in ``folder`` into an existing folder; what it says of itself.

    Args:
        folder: A stage's output, which `judge.load` has found to be sound.
        out: Where to.
        pin: Name a published encoder instead of copying it.

    Raises:
        PipelineError: ``pin``, and the encoder is none that is published.
    """
    origin = Origin.of(folder)
    system, fold = _origin(folder, origin)
    name = "/".join(filter(None, [*system, fold]))
    data = data_of([folder], fold)
    shown = packing.write(folder, out, origin, pin)
    told = Passport(
        format=1,
        name=name,
        method=origin.method,
        target=origin.target,
        classes=origin.classes,
        encoder=origin.pinned(),
        corpora=card.learnt(data) if data else None,
    )
    told.write(out)
    (out / CARD).write_text(card.text(told, shown, data, measured(folder, system, name)), "utf-8")
    return told


def _origin(folder: Path, origin: Origin) -> tuple[System, str]:
    """Task, start, method and fold as the stage named its output: the folder may have been copied.

    Where it names none, that of the encoder and the method, and no task and fold.
    """
    made = provenance.carried(folder)
    match made.name.split("/") if made else []:
        case ["classifiers", task, start, method, fold]:
            return (task, start, method), fold
    return ("", origin.encoder.name, origin.method), ""


def data_of(folders: Sequence[Path], fold: str) -> Data | None:
    """What classifiers of a fold learnt from; None, and a line on stderr, where it is not here."""
    folder, heard = folders[0], set[str]().union(*map(lineage.heard, folders))
    try:
        if others := lineage.strangers(folder):
            raise PipelineError(f"{others[0]}: not what {folder} learnt from, run `dvc repro`")
        corpora = lineage.corpora(folder) or load("corpora", list[str])
        roles = folds.read(int(fold)) if fold.isdigit() else {}
        return Data(manifest.read(corpora), roles, _parsers(corpora), _parsers(sorted(heard)))
    except PipelineError as error:
        say(f"{error}; the card says nothing of data and scores")
        return None


def _parsers(corpora: Sequence[str]) -> dict[str, str]:
    return {name: load(f"corpus.{name}.parser", str) for name in corpora}


def measured(folder: Path, system: System, name: str) -> tuple[Any, Any] | None:
    """The protocol and the scores of a classifier's method; None where they are of another."""
    if not (SCORES.is_file() and lineage.is_scored(folder, name, SCORES.parent)):
        return None
    return scores_of(system)


def scores_of(system: System) -> tuple[Any, Any] | None:
    """The protocol and the scores of a row; None before `evaluate` knew it."""
    everything = files.read_json(SCORES)
    found = everything
    for key in system:
        found = found.get(key, {})
    return (everything["protocol"], found) if found else None
