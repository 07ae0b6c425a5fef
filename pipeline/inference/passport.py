"""What a model says of itself once it left its project: ``model.json``, and where its parts lie.

`ser export` writes the same folder for every method. Beside ``model.json`` lie the classifier as
its stage left it (adapters merged) or, where transformers can hold encoder and head together, one
model of theirs; ``encoder/`` has the encoder or front end of the others; ``preprocess.json`` says
how clips are cut, ``README.md`` is the card, ``SHA256SUMS`` has the checksums. An ensemble has
``ensemble.json`` and a folder of this format for each member, ``member-0`` and so on. A folder that
has a ``model.json`` needs nothing of a project: no ``params.yaml``, no Git, no DVC.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import PARAMS_FILE, Section, parse
from pipeline.methods.finetuning import Classes, Target

FILE = "model.json"
ENCODER = "encoder"
CARD = "README.md"
# All that a folder of this format may hold, as patterns of huggingface_hub.
PATTERNS = ("*.json", "*.safetensors", "*.onnx", CARD, f"*{files.SUMS}")
ENSEMBLE = "ensemble.json"
MEMBER = "member-{}"

# It may be a stranger's, and is shown on terminals.
Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]


class Pinned(Section):
    """The encoder that a classifier was trained on: its published commit where it has one.

    ``weights_sha256`` is of the weights as they are read here, ``sha256`` of the published file;
    both are empty for a front end, which has no weights. ``licence`` is what its source says.
    """

    name: Text
    repository: Annotated[str, Field(max_length=200, pattern=r"^([\w.-]+/[\w.-]+)?$")] = ""
    revision: Annotated[str, Field(pattern=r"^([0-9a-f]{40})?$")] = ""
    file: Literal["", "model.safetensors", "pytorch_model.bin"] = ""
    sha256: Sha256 = ""
    weights_sha256: Sha256 = ""
    licence: Text = ""


class Learnt(Section):
    """A corpus that a classifier was trained on, and a note on its licence."""

    corpus: Text
    licence: Text


class Passport(Section):
    """``model.json``.

    ``name`` is the classifier's in its project; ``method`` how it was trained; ``classes`` are of
    the target dimensions its names; ``corpora`` is None
    where what it learnt from was not at hand when it was exported.
    """

    format: Literal[1]
    name: Text
    method: Text
    target: Target
    classes: Classes
    encoder: Pinned
    corpora: Annotated[list[Learnt], Field(max_length=1000)] | None

    @classmethod
    def read(cls, folder: Path) -> "Passport | None":
        """That of the model in ``folder``; None where it is no exported one.

        Raises:
            PipelineError: It is damaged, beyond the limits, or of a newer format.
        """
        return parse(folder / FILE, cls) if (folder / FILE).exists() else None

    def write(self, folder: Path) -> None:
        """Write ``model.json`` into an existing folder."""
        files.write_json(folder / FILE, self.model_dump(mode="json"))


class Ensemble(Section):
    """``ensemble.json``: how much each member counts; their mean is what the model says."""

    weights: Annotated[
        list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=2, max_length=99)
    ]

    @property
    def folders(self) -> list[str]:
        """Where the members lie."""
        return [MEMBER.format(number) for number in range(len(self.weights))]

    def write(self, folder: Path) -> None:
        """Write ``ensemble.json`` into an existing folder."""
        files.write_json(folder / ENSEMBLE, self.model_dump())


def require(folder: Path) -> Passport:
    """The passport of a folder that must have one.

    Raises:
        PipelineError: It has none, or as `Passport.read`.
    """
    found = Passport.read(folder)
    if found is None:
        raise PipelineError(
            f"{folder}: no {FILE}, expected a model that `ser export CLASSIFIER {folder}` wrote"
        )
    return found


def models(folder: Path) -> list[Path]:
    """The folders that judge: an ensemble's members, or the model's own."""
    if not (folder / ENSEMBLE).is_file():
        return [folder]
    return [folder / name for name in parse(folder / ENSEMBLE, Ensemble).folders]


def is_at_home(folder: Path) -> bool:
    """Whether ``params.yaml`` is here and has a say: an exported model needs none."""
    return PARAMS_FILE.is_file() and not (folder / FILE).exists()
