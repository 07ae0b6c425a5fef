"""The folder of an encoder, in the hub's layout, and where its weights came from.

Written by the stage `encoder` and by training; light, so that reading a front end's settings does
not import torch.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.corpora.manifest import ARTIFACTS, Clip
from pipeline.ground import files
from pipeline.ground.errors import PipelineError

ENCODERS = ARTIFACTS / "encoders"
# The name of the encoders that `pretrain` makes of each fold's own training clips.
OWN = "own"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PREPROCESSOR = "preprocessor_config.json"
SOURCE = "source.json"

# Of the seven convolutions that HuBERT and wav2vec 2.0 share: a frame sees 25 ms, every 20 ms.
HOP_SAMPLES = 320
# The model type that is never trained or masked here: half a minute would pass with every clip.
FEATURES_ALONE = "whisper"
LONGEST_S = 30.0
FIELD_SAMPLES = 400


@dataclass(frozen=True)
class Source:
    """What was published, under which pin and licence; empty for what was made here."""

    repository: str = ""
    revision: str = ""
    file: str = ""
    sha256: str = ""
    licence: str = ""

    @classmethod
    def read(cls, folder: Path) -> "Source":
        """The source of the encoder in ``folder``."""
        path = folder / SOURCE
        return cls(**files.read_json(path)) if path.is_file() else cls()

    def write(self, folder: Path) -> None:
        """Write ``source.json`` into an existing folder."""
        told = {key: value for key, value in asdict(self).items() if value or key != "licence"}
        files.write_json(folder / SOURCE, told)


def of_fold(name: str, fold: int) -> Path:
    """The folder of the encoder that a fold starts from; of `OWN`, each fold has another."""
    return ENCODERS / name / str(fold) if name == OWN else ENCODERS / name


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


def shape(folder: Path) -> tuple[int, int]:
    """The number of blocks of the encoder in ``folder``, and the width of its frames."""
    config = files.read_json(folder / CONFIG)
    if config["model_type"] == FEATURES_ALONE:
        return config["encoder_layers"], config["d_model"]
    return config["num_hidden_layers"], config["hidden_size"]


def require_trainable(folder: Path) -> None:
    """Check that the encoder in ``folder`` can be trained, with masks or without.

    Raises:
        PipelineError: It gives features alone: Whisper's, or a front end without weights.
    """
    found = files.read_json(folder / CONFIG)
    kind = found.get("model_type", "a front end") if isinstance(found, dict) else None
    if kind in (FEATURES_ALONE, "a front end"):
        raise PipelineError(
            f"{folder}: expected an encoder that can be trained, got {kind}, which gives features "
            "alone, set pretrained in params.yaml to another or empty methods.pretrained and "
            "adapted"
        )


def require_heard(folder: Path, clips: Iterable[Clip]) -> None:
    """Check that the encoder in ``folder`` hears each clip to its end.

    Raises:
        PipelineError: It is Whisper's, and one lasts longer than 30 s; the clip is named.
    """
    if files.read_json(folder / CONFIG).get("model_type") != FEATURES_ALONE:
        return
    for clip in clips:
        if clip.duration_s > LONGEST_S:
            raise PipelineError(
                f"{clip.clip}: lasts {clip.duration_s:.1f} s, but {folder.name} hears "
                f"{LONGEST_S:.0f}, set preprocess.max_clip_s to {LONGEST_S:.0f} or less"
            )


def weights_sha256(folder: Path) -> str:
    """The checksum of the weights, empty for a front end, which has none."""
    path = folder / WEIGHTS
    return files.sha256(path) if path.is_file() else ""


def frame_count(samples: int) -> int:
    """The number of frames of a clip; 0 below 400 samples."""
    return max(0, (samples - FIELD_SAMPLES) // HOP_SAMPLES + 1)
