"""How the clips were cut that a classifier learnt from: ``preprocess.json`` in its folder.

Every stage that trains a classifier writes it, and `ser predict` cuts what it hears alike, whatever
``params.yaml`` says by then.
"""

from pathlib import Path

from pydantic import ValidationError

from pipeline.audio.segments import Cutting
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.ground.provenance import Provenance

FILE = "preprocess.json"


def carry(folder: Path, made: Provenance) -> None:
    """Write into a classifier's folder what determined it, and how its clips were cut.

    The clips themselves say so; those that were made by hand don't, and nothing is written of them.
    """
    made.write(folder)
    keys = {name: f"preprocess.{name}" for name in Cutting.model_fields}
    if made.params.keys() >= set(keys.values()):
        write(folder, Cutting(**{name: made.params[key] for name, key in keys.items()}))


def write(folder: Path, cutting: Cutting) -> None:
    """Write ``preprocess.json`` into an existing folder."""
    files.write_json(folder / FILE, cutting.model_dump())


def read(folder: Path) -> Cutting | None:
    """What `write` wrote into ``folder``; None where it was written by an earlier version.

    Raises:
        PipelineError: It is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return Cutting(**files.read_json(path))
    except (TypeError, ValidationError):
        raise PipelineError(
            f"{path}: damaged or not written by this version, run `dvc repro`"
        ) from None
