"""Scores on corpora that the encoder met before: marked wherever they stand.

An encoder whose authors trained it on a corpus says so in its entry in params.yaml (``trained_on``,
by the corpus' name or parser). No split hides that speech from it, so no score there is one on
unseen speech.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.ground import provenance
from pipeline.scoring.active import Ensemble, System

KEY = "trained_on"


def met(corpora: Mapping[str, object], encoders: Iterable[Mapping[str, Any]]) -> list[str]:
    """The corpora, each with its parser, that the entry of one of the encoders names."""
    learnt = {name for entry in encoders for name in entry.get(KEY, ())}
    return sorted(name for name, parser in corpora.items() if {name, parser} & learnt)


def met_by(
    systems: Mapping[str, Path], ensembles: Mapping[System, Ensemble]
) -> dict[str, list[str]]:
    """The corpora that each system met, by the system's name; those that met none are left out.

    What was trained, in these folders, carries the entries of its encoder and its corpora. An
    ensemble met what its members did.
    """
    found: dict[str, list[str]] = {}
    for name, folder in systems.items():
        made = provenance.carried(folder)
        entries = made.params if made else {}
        parsers = {
            key.removeprefix("corpus."): entry.get("parser")
            for key, entry in entries.items()
            if key.startswith("corpus.")
        }
        encoders = [entry for key, entry in entries.items() if key.startswith("encoder.")]
        if known := met(parsers, encoders):
            found[name] = known
    for row, ensemble in ensembles.items():
        names = [" ".join(system[1:]) for system in ensemble.systems]
        if known := sorted({corpus for name in names for corpus in found.get(name, ())}):
            found[" ".join(row[1:])] = known
    return found


def marked(shown: str, protocol: Mapping[str, Any], system: Sequence[str] = ()) -> str:
    """The name of a system in a table, with a star where it met a corpus of its tests.

    ``system`` is its start and method where the name is another.
    """
    return f"{shown} *" if (" ".join(system) or shown) in protocol.get(KEY, {}) else shown


def remarks(protocol: Mapping[str, Any]) -> list[str]:
    """What the stars stand for: a line for each set of corpora."""
    sets = {", ".join(corpora) for corpora in protocol.get(KEY, {}).values()}
    return [
        f"* its encoder was trained on {corpora}, so that this is no score on unseen speech"
        for corpora in sorted(sets)
    ]
