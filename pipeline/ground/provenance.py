"""What an artefact is and what determined its bytes: carried inside it, compared by its readers.

An artefact holds its own name, the parameters that its stage and those before it took, and the
digests of the artefacts that it was made from. `Provenance.of` looks at a stage's inputs first:
none may be another than the one whose place it takes, or contradict ``params.yaml``, or what it was
made from and still lies there. `dvc repro` never leaves such a thing; a stage run by hand does, and
a folder into which two experiments were pulled.
"""

import json
import os
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, PrivateAttr

from pipeline.ground import files, runs
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import PARAMS_FILE, load, read

FILE = "provenance.json"


class Provenance(BaseModel):
    """An artefact's name, parameters by dotted key, and the digest of each input by its path.

    ``name`` is its path below ``artifacts``. ``seal`` is the digest of all that, since neither a
    file beside another nor an attribute of HDF5 has a checksum. Version 0.1.0 wrote neither: what
    `ser adopt` keeps of it passes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = ""
    params: dict[str, Any]
    inputs: dict[str, str]
    seal: str = ""
    # How each file of the inputs lay there when `of` looked, by input.
    _found: dict[str, dict[Path, tuple[int, ...]]] = PrivateAttr(default_factory=dict)

    @classmethod
    def of(cls, artefact: Path, keys: Iterable[str], inputs: Iterable[Path]) -> "Provenance":
        """That of what is made now, under these keys of ``params.yaml``, from these artefacts.

        Raises:
            PipelineError: An input is another, or contradicts ``params.yaml`` or its own inputs.
        """
        taken: dict[str, Any] = {key: load(key, object) for key in keys}
        digests, found = {}, {}
        for path in inputs:
            found[str(path)] = {file: files.state(file) for file in _files(path)}
            carried = require(path)
            # What lies beside a file is no part of it: DVC would not see it change.
            taken |= carried if path.is_dir() or path.suffix == ".h5" else {}
            digests[str(path)] = digest(path)
        # In one order, whatever that of params.yaml.
        plain = json.loads(json.dumps({"params": taken, "inputs": digests}, sort_keys=True))
        made = cls(name=_name(artefact), **plain)
        made = made.model_copy(update={"seal": made.sealed()})
        made._found.update(found)
        runs.makes(made.seal)
        return made

    def sealed(self) -> str:
        """The seal that fits the rest."""
        return files.digest(self.model_dump(exclude={"seal"}))

    def lineage(self) -> set[str]:
        """The seals of what it was made from, at any remove, as far as that lies here.

        Raises:
            PipelineError: One is damaged.
        """
        found, left = dict[str, str](), [*self.inputs]
        while left:
            if (name := left.pop()) not in found:
                held = carried(Path(name))
                found[name] = held.seal if held else ""
                left += held.inputs if held else ()
        return set(found.values())

    def require_same(self) -> None:
        """Look at the inputs again: what was read of them since `of` looked must be what it saw.

        Costs the reading of what was touched, else nothing. Whoever reads a clip compares its
        checksum with the manifest's.

        Raises:
            PipelineError: An input changed meanwhile.
        """
        for name, before in self._found.items():
            for file, state in before.items():
                if files.state(file) == state:
                    continue
                if not _holds_still(file, Path(name), self.inputs[name]):
                    raise files.changed(file)

    def write(self, artefact: Path, beside: bool = False) -> None:
        """Write it into a folder, or ``beside`` a file.

        Raises:
            PipelineError: As `require_same`.
        """
        self.require_same()
        files.write_json(_beside(artefact) if beside else artefact / FILE, self.model_dump())

    def text(self) -> str:
        """As an attribute of an HDF5 file."""
        return json.dumps(self.model_dump(), sort_keys=True)


def require(artefact: Path) -> Mapping[str, Any]:
    """Compare an artefact's provenance with its place, ``params.yaml`` and what it was made from.

    What carries none (made by hand or by an earlier version) passes, and so does an input that is
    not here. Returns the artefact's parameters.

    Raises:
        PipelineError: They differ, or the provenance is damaged.
    """
    found = carried(artefact)
    if found is None:
        return {}
    if found.name and found.name != _name(artefact):
        raise PipelineError(
            f"{artefact}: holds {found.name}, expected {_name(artefact)}, run `dvc repro`"
        )
    for key, made in found.params.items():
        for name, old, new in differences(key, made, current(key)):
            raise PipelineError(
                f"{artefact}: made with {name} {_brief(old)}, {PARAMS_FILE} has {_brief(new)}, "
                "run `dvc repro`"
            )
    for name, told in found.inputs.items():
        if digest(Path(name)) not in ("", told):
            raise PipelineError(
                f"{artefact}: made from another {name} than lies there, run `dvc repro`"
            )
    return found.params


def carried(artefact: Path) -> Provenance | None:
    """What an artefact carries; None where that is nothing.

    Raises:
        PipelineError: It is damaged.
    """
    if artefact.suffix == ".h5":
        place, text = artefact, _attributes(artefact).get("provenance", "")
    else:
        place = artefact / FILE if artefact.is_dir() else _beside(artefact)
        text = files.read_text(place) if place.exists() else ""
    if isinstance(text, str) and not text:
        return None
    try:
        found = Provenance.model_validate(json.loads(text))
        if (found.name or found.seal) and found.seal != found.sealed():
            raise ValueError
    except (TypeError, ValueError, RecursionError):
        raise PipelineError(
            f"{place}: its provenance is damaged, delete it and run `dvc repro`"
        ) from None
    return found


def digest(artefact: Path) -> str:
    """A digest of what an artefact holds, from its checksums; empty where it has none.

    Its own provenance does not count: equal content stays equal.
    """
    if artefact.suffix == ".h5":
        held = _attributes(artefact)
        told = {name: held[name] for name in sorted(held) if name not in ("digest", "provenance")}
        return files.digest(told) if told else ""
    sums = artefact / files.SUMS if artefact.is_dir() else files.sum_of(artefact)
    if not sums.is_file():
        return ""
    lines = sums.read_text("utf-8", "replace").splitlines()
    return files.digest([line for line in lines if not line.endswith(f"  {FILE}")])


def _files(artefact: Path) -> list[Path]:
    """The files that its digest stands for, and the list of their checksums."""
    if not artefact.is_dir():
        return [artefact, files.sum_of(artefact)]
    sums = artefact / files.SUMS
    lines = sums.read_text("utf-8", "replace").splitlines() if sums.is_file() else []
    named = [artefact / line.partition("  ")[2] for line in lines]
    return [sums, *named, *artefact.glob("*.h5")]


def _holds_still(file: Path, artefact: Path, told: str) -> bool:
    """Whether a file that was touched holds what it did, ``told`` being the digest from before.

    The digest stands for attributes of HDF5 and for lists of checksums.
    """
    if not told or digest(artefact) != told:
        return False
    if file.suffix == ".h5":
        return file == artefact
    try:
        if file not in (artefact / files.SUMS, files.sum_of(artefact)):
            files.require_intact(file)
    except PipelineError:
        return False
    return True


def _attributes(path: Path) -> Mapping[str, Any]:
    """The root's attributes; none of a file that is missing or damaged, as its reader will say."""
    import h5py

    if not path.exists():
        return {}
    files.require_file(path)
    try:
        with h5py.File(path, "r") as file:
            return dict(file.attrs)
    except (OSError, KeyError, ValueError, RuntimeError):
        return {}


def _name(artefact: Path) -> str:
    return Path(os.path.relpath(artefact, files.STAGING.parent)).as_posix()


def _beside(artefact: Path) -> Path:
    return artefact.with_name(f"{artefact.name}.{FILE}")


def current(key: str) -> Any:
    """The value under a dotted key of ``params.yaml``, None where it has none."""
    value: Any = read(PARAMS_FILE.absolute())
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def differences(key: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """The leaves in which two values differ: dotted key, old and new."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}):
            yield from differences(f"{key}.{name}", old.get(name), new.get(name))
    elif old != new:
        yield key, old, new


def _brief(value: Any) -> str:
    return "none" if value is None else reprlib.repr(value)
