"""The folder of an encoder, in the hub's layout, and where its weights came from.

Written by the stage `encoder` and by training; light, so that reading a front end's settings does
not import torch.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.corpora.manifest import ARTIFACTS
from pipeline.ground import files
from pipeline.ground.errors import PipelineError

ENCODERS = ARTIFACTS / "encoders"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PREPROCESSOR = "preprocessor_config.json"
SOURCE = "source.json"

# Of the seven convolutions that HuBERT and wav2vec 2.0 share: a frame sees 25 ms, every 20 ms.
HOP_SAMPLES = 320
FIELD_SAMPLES = 400


@dataclass(frozen=True)
class Source:
    """What was published, under which pin; empty for what was made here."""

    repository: str = ""
    revision: str = ""
    file: str = ""
    sha256: str = ""

    @classmethod
    def read(cls, folder: Path) -> "Source":
        """The source of the encoder in ``folder``."""
        path = folder / SOURCE
        return cls(**files.read_json(path)) if path.is_file() else cls()

    def write(self, folder: Path) -> None:
        """Write ``source.json`` into an existing folder."""
        files.write_json(folder / SOURCE, asdict(self))


def do_normalize(folder: Path) -> bool:
    """Whether the encoder in ``folder`` wants each waveform standardised; the default is yes.

    Raises:
        PipelineError: Its ``preprocessor_config.json`` is missing, or does not say so.
    """
    path = folder / PREPROCESSOR
    found = files.read_json(path)
    told = found.get("do_normalize", True) if isinstance(found, dict) else None
    if not isinstance(told, bool):
        raise PipelineError(f"{path}: do_normalize must be true or false, got {told!r:.50}")
    return told


def weights_sha256(folder: Path) -> str:
    """The checksum of the weights, empty for a front end, which has none."""
    path = folder / WEIGHTS
    return files.sha256(path) if path.is_file() else ""


def frame_count(samples: int) -> int:
    """The number of frames of a clip; 0 below 400 samples."""
    return max(0, (samples - FIELD_SAMPLES) // HOP_SAMPLES + 1)
