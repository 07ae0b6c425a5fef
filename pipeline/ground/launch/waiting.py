"""A run of a stage that may be made ahead of its turn, and where its result waits for that.

The result lies, published, in a folder of the scratch store, whose name is a digest of what
determines it: the command, the stage's code, parameters and inputs, as in DVC's own run cache, and
what computes. A result of other inputs so has another place, and is never taken for this one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.ground import files, locks, provenance, stage


@dataclass(frozen=True)
class Run:
    """A run as ``dvc.yaml`` has it: its module and arguments, output, inputs and keys of params.

    ``computer`` is what computes, of which its bytes may be.
    """

    words: tuple[str, ...]
    out: str
    inputs: tuple[str, ...]
    params: tuple[str, ...]
    computer: str

    @property
    def told(self) -> str:
        """What the stage is called."""
        return " ".join(self.words).removeprefix("stages.")

    @cached_property
    def folder(self) -> Path:
        """Below which the result waits, by what its inputs hold now.

        Raises:
            PipelineError: An input is not there, or its provenance does not pass.
        """
        given = {name: _content(Path(name)) for name in self.inputs}
        params = {key: provenance.current(key) for key in self.params}
        where = [self.words, self.computer, stage.runtime().alone().model_dump()]
        key = stage.resume_key(self.words[0].rpartition(".")[2], [where, params], given)
        return locks.scratch_root().absolute() / files.digest(key)

    @property
    def result(self) -> Path:
        """Where the result is, once it is there."""
        return self.folder / self.out


def _content(path: Path) -> dict[str, str]:
    """A digest of each artefact that a folder of them holds, or that it is."""
    found = {}
    for artefact in _artefacts(path):
        provenance.require(artefact)
        found[str(artefact)] = provenance.digest(artefact) or files.sha256(artefact)
    return found


def _artefacts(path: Path) -> Iterator[Path]:
    if path.is_dir() and not (path / files.SUMS).exists():
        for inner in sorted(path.iterdir()):
            yield from _artefacts(inner)
    else:
        yield path
