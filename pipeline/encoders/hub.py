"""Published checkpoints: found by their pin in the hub's cache, checked, and made an encoder.

Between ``encoder`` in params.yaml and ``artifacts/encoders/<name>/``, as what this repository ships
is. This is the one place that reads a ``.bin``: its checksum is compared first, and no code in it
is run.
"""

import errno
import logging
import re
from functools import reduce
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from pipeline.encoders import layout
from pipeline.encoders.layout import CONFIG, PREPROCESSOR
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import Section
from pipeline.ground.progress import say

# Published files name the weight norm of the positional convolution as torch did until 2.0.
_RENAMED = {
    "conv.weight_g": "conv.parametrizations.weight.original0",
    "conv.weight_v": "conv.parametrizations.weight.original1",
}
_MASK = "masked_spec_embed"
_MASK_SEED = 0
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class Pin(Section):
    """One published encoder: an exact commit, and the checksum of its weights file.

    Empty where nobody has pinned it yet: such an encoder is refused. ``trained_on`` are corpora, by
    name or parser, that its authors trained it on, with labels or without; ``licence`` is theirs.
    """

    kind: Literal["hub"]
    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Annotated[str, Field(pattern=r"^([0-9a-f]{40})?$")]
    file: Literal["model.safetensors", "pytorch_model.bin"]
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
    trained_on: list[Annotated[str, Field(pattern=r"^[\w-]+$")]] = Field(default_factory=list)
    licence: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f|]*$")] = ""


class Shipped(Section):
    """An encoder that lies in this repository, in the hub's layout, with a card.

    ``sha256`` is that of its ``SHA256SUMS``, which holds those of weights and settings.
    """

    kind: Literal["shipped"]
    folder: Annotated[str, Field(pattern=r"^\w[\w-]*(/\w[\w.-]*)*$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def unpack(name: str, shipped: Shipped) -> Any:
    """The encoder that lies in the repository, in fp32 whatever its weights are stored in.

    Args:
        name: What params.yaml calls it.
        shipped: Where it lies.

    Raises:
        PipelineError: A file is missing, has another checksum, or is no encoder of a known kind.
    """
    folder = Path(shipped.folder)
    sums = folder / files.SUMS
    for path in (sums, *(folder / file for file in (layout.WEIGHTS, CONFIG, PREPROCESSOR))):
        expected = shipped.sha256 if path == sums else _listed(sums).get(path.name, "none")
        found = files.sha256(path) if path.is_file() else "no file"
        if found != expected:
            raise PipelineError(
                f"{path}: expected sha256 {expected} (encoder.{name}), got {found}, run "
                f"`git checkout -- {folder}`, or pin what you put there"
            )
    return _assemble(folder / layout.WEIGHTS, folder / CONFIG, layout.do_normalize(folder))


def _listed(sums: Path) -> dict[str, str]:
    """The checksum of each file, by its name."""
    lines = (line.partition("  ") for line in sums.read_text("utf-8", "replace").splitlines())
    return {name: checksum for checksum, _, name in lines}


def load(name: str, pin: Pin) -> Any:
    """The encoder that ``pin`` names, from the hub's local cache, else from the hub.

    Args:
        name: What params.yaml calls it.
        pin: Where it is published.

    Raises:
        PipelineError: It is not pinned, cannot be found, has another checksum, or is no encoder of
            a known kind.
    """
    for key in ("revision", "sha256"):
        if not getattr(pin, key):
            raise PipelineError(
                f"params.yaml: encoder.{name}.{key} is empty, an encoder that is not pinned is not "
                f"used, fill it in: `ser encoder pin {name}`"
            )
    weights, settings = _find(name, pin, pin.file), _find(name, pin, CONFIG)
    normalized = layout.do_normalize(_find(name, pin, PREPROCESSOR).parent)
    with files.unchanged(weights):
        checksum = files.sha256(weights)
        if checksum != pin.sha256:
            raise PipelineError(
                f"{weights}: expected sha256 {pin.sha256} (encoder.{name}), got {checksum}, delete "
                "the file from the hub's cache, and do not trust where it came from"
            )
        return _assemble(weights, settings, normalized)


def describe(name: str, pin: Pin) -> tuple[str, str]:
    """Ask the hub for the commit and the checksum of the weights of ``pin``.

    The commit is that of ``pin`` where it has one, else the newest.

    Raises:
        PipelineError: The hub does not answer, or does not hold the file.
    """
    from huggingface_hub import HfApi

    be_quiet()
    try:
        info = HfApi().model_info(
            pin.repository, revision=pin.revision or None, files_metadata=True
        )
    except Exception as error:  # noqa: BLE001 - whatever its library and that one's libraries have
        raise PipelineError(
            f"encoder.{name}: the hub gives no answer about {pin.repository} "
            f"({why(error)}), check the name and go online"
        ) from None
    for sibling in info.siblings or ():
        if sibling.rfilename == pin.file and sibling.lfs and info.sha:
            return _sound(name, pin, info.sha, sibling.lfs.sha256)
    raise PipelineError(
        f"encoder.{name}: {pin.repository} has no {pin.file}, set encoder.{name}.file to one of "
        "model.safetensors and pytorch_model.bin"
    )


def licence(pin: Pin) -> str:
    """That of the entry, else of the model card, where the hub's cache has one; else empty."""
    from huggingface_hub import try_to_load_from_cache

    if pin.licence:
        return pin.licence
    card = try_to_load_from_cache(pin.repository, "README.md", revision=pin.revision)
    text = Path(card).read_text("utf-8", "replace") if isinstance(card, str) else ""
    front = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    told = re.search(
        r"(?m)^license: *[\"']?([\w.+-]{1,100})[\"']?[ \t\r]*$", front[1] if front else ""
    )
    return told[1] if told else ""


def _sound(name: str, pin: Pin, revision: object, sha256: object) -> tuple[str, str]:
    """What the hub answered, which is going to be written into params.yaml."""
    for what, told, digits in (("revision", revision, 40), ("sha256", sha256, 64)):
        if not (isinstance(told, str) and re.fullmatch(f"[0-9a-f]{{{digits}}}", told)):
            raise PipelineError(
                f"encoder.{name}: the hub gives {told!r:.80} as the {what} of {pin.repository}, "
                f"expected {digits} hex digits, nothing is written: look at the repository"
            )
    if pin.revision and revision != pin.revision:
        raise PipelineError(
            f"encoder.{name}: the hub answers for commit {revision} of {pin.repository}, expected "
            f"{pin.revision}, nothing is written: look at the repository"
        )
    return str(revision), str(sha256)


def _find(name: str, pin: Pin, file: str) -> Path:
    from huggingface_hub import hf_hub_download

    be_quiet()
    try:
        return Path(hf_hub_download(pin.repository, file, revision=pin.revision))
    except Exception as error:  # noqa: BLE001 - whatever its library and that one's libraries have
        raise PipelineError(
            f"encoder.{name}: {file} of {pin.repository} at {pin.revision} is not in the hub's "
            f"cache and cannot be fetched ({why(error)}), go online or copy the cache of "
            "a machine that has it"
        ) from None


def be_quiet() -> None:
    """Keep its retries, half a minute without a network, from being ten lines before ours."""
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def why(error: Exception) -> str:
    """The kind of what a library raised, and the beginning of what it says.

    Raises:
        OSError: It is about this machine's disk, not about the hub.
    """
    if isinstance(error, OSError) and (error.filename or error.errno in _DISK):
        raise error
    told = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {told}" if told else type(error).__name__


def _assemble(weights: Path, settings: Path, do_normalize: bool) -> Any:
    import torch

    from pipeline.encoders import encoder
    from pipeline.encoders.kinds import whisper

    model = encoder.outline(settings)
    model.do_normalize = do_normalize
    published, expected = _read(weights), model.state_dict()
    prefixes = whisper.PREFIXES if whisper.is_one(model) else (model.base_model_prefix,)
    state = reduce(_rename, prefixes, published)
    known = {*prefixes, *(key.split(".")[0] for key in expected)}
    if heads := sorted({key.split(".")[0] for key in published} - known):
        say(f"{weights.name}: {', '.join(heads)} left out, whatever is trained gets a new head")
    if _MASK in expected and _MASK not in state:
        # A checkpoint that was never trained with masks; ours may be.
        drawn = torch.Generator().manual_seed(_MASK_SEED)
        state[_MASK] = torch.rand(expected[_MASK].shape, generator=drawn)
    for key, tensor in expected.items():
        if key not in state or state[key].shape != tensor.shape:
            found = tuple(state[key].shape) if key in state else "nothing"
            raise PipelineError(
                f"{weights}: expected {key} of shape {tuple(tensor.shape)}, got {found}, "
                f"it does not belong to its {CONFIG}"
            )
    # Copied, since a tensor of a file is read from it when it is used.
    kept = {key: state[key].to(torch.float32, copy=True).contiguous() for key in expected}
    model.load_state_dict(kept, assign=True)
    return model


def _read(weights: Path) -> dict[str, Any]:
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if weights.suffix == ".safetensors":
            return dict(load_file(weights))
        state: dict[str, Any] = torch.load(weights, "cpu", weights_only=True)
        return state
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise PipelineError(
            f"{weights}: cannot be read ({reason}), delete it from the hub's cache"
        ) from None


def _rename(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Bring keys to those of the bare encoder, whatever model they were published in."""
    prefix += "."
    if any(key.startswith(prefix) for key in state):
        state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    for old, new in _RENAMED.items():
        state = {k.removesuffix(old) + new if k.endswith(old) else k: v for k, v in state.items()}
    return state
