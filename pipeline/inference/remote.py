"""Models and encoders of the hub, by huggingface_hub: fetched by revision, found again, pushed.

``hf:OWNER/NAME@REVISION`` names a model that `push` uploaded. Only files of the format are fetched,
none of which can hold code; what is in the hub's cache is used without a network.
"""

import os
import re
from pathlib import Path

from pipeline.encoders import hub
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.inference import passport
from pipeline.inference.passport import Pinned

PREFIX = "hf:"
_PLACE = re.compile(r"hf:([\w.-]+/[\w.-]+)@([\w./-]+)")


def folder(model: str) -> Path:
    """The folder of a model: ``model`` itself, or what the hub has under that name.

    Raises:
        PipelineError: The name has no revision, or the hub does not give what it names.
    """
    if not model.startswith(PREFIX):
        return Path(model)
    found = _PLACE.fullmatch(model)
    if not found:
        raise PipelineError(
            f"{model}: expected hf:OWNER/NAME@REVISION, with the commit, tag or branch that is "
            "meant, add it"
        )
    from huggingface_hub import snapshot_download

    hub.be_quiet()
    try:
        at = snapshot_download(found[1], revision=found[2], allow_patterns=list(passport.PATTERNS))
    except Exception as error:  # noqa: BLE001 - whatever its library and that one's libraries have
        raise PipelineError(
            f"{model}: not in the hub's cache and cannot be fetched ({hub.why(error)}), check the "
            "name and the revision, and go online"
        ) from None
    return Path(at)


def encoder(pinned: Pinned) -> Path:
    """The folder of a published encoder, made once of the file that its pin names, then kept.

    Raises:
        PipelineError: As `hub.load`, or it is another one than the model was trained on.
    """
    kept = cache() / "encoders" / pinned.weights_sha256
    if not kept.is_dir():
        from pipeline.encoders import encoder as encoders
        from pipeline.encoders import layout

        told = pinned.model_dump(include={"repository", "revision", "file", "sha256"})
        try:
            pin = hub.Pin(kind="hub", **told)
        except ValueError:
            raise PipelineError(
                f"{passport.FILE}: encoder.{pinned.name} is no whole pin, export the model again"
            ) from None
        model = hub.load(pinned.name, pin)
        with files.publish(kept) as staged:
            staged.mkdir()
            encoders.save(model, staged)
            if layout.weights_sha256(staged) != pinned.weights_sha256:
                raise PipelineError(
                    f"{passport.FILE}: encoder.{pinned.name} of {pinned.repository} is not the one "
                    "that the model was trained on, export the model with its encoder"
                )
    return kept


def cache() -> Path:
    """Where pinned encoders are kept: ``SER_CACHE``, or below the user's cache."""
    if told := os.environ.get("SER_CACHE"):
        return Path(told).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ser-pipeline"


def push(model: Path, repository: str, private: bool) -> str:
    """Upload an exported model; the commit that now holds it is returned.

    Raises:
        PipelineError: It is no exported model, or the hub refuses.
    """
    passport.require(model)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise PipelineError(f"{repository}: expected OWNER/NAME, such as a-lab/emotions")
    from huggingface_hub import HfApi

    hub.be_quiet()
    try:
        api = HfApi()
        api.create_repo(repository, private=private, exist_ok=True)
        made = api.upload_folder(
            repo_id=repository,
            folder_path=model,
            allow_patterns=list(passport.PATTERNS),
            commit_message=f"ser push {passport.require(model).name}",
        )
    except Exception as error:  # noqa: BLE001 - whatever its library and that one's libraries have
        raise PipelineError(
            f"{repository}: the hub did not take {model} ({hub.why(error)}), check the "
            "name and run `hf auth login`"
        ) from None
    return str(made.oid)
