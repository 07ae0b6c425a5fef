"""From a stage's output to a folder that needs no project: what `ser export` writes.

Two shapes, one format (`pipeline.inference.passport`). What transformers can hold becomes one model
of theirs, adapters merged. Classifiers on cached embeddings otherwise stay as their stage left
them, and their encoder or front end lies beside them, or is named by its pin.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.encoders import layout
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.inference import passport, usage
from pipeline.inference.card import Usage
from pipeline.inference.passport import Pinned
from pipeline.methods import calibration, preprocessing
from pipeline.methods import features as cached
from pipeline.methods.emotion_head import DESIGN, Design
from pipeline.methods.features import Features
from pipeline.methods.finetuning import Target


@dataclass(frozen=True)
class Origin:
    """What a stage's output is: its method and classes, and the encoder that it was trained on."""

    method: str
    target: Target
    classes: list[str]
    encoder: Path
    weights_sha256: str
    features: Features | None
    design: Design | None

    @classmethod
    def of(cls, folder: Path) -> "Origin":
        """That of the classifier in ``folder``, which `judge.load` has found to be sound."""
        design = Design.read(folder) if (folder / DESIGN).is_file() else None
        features = Features.read(folder) if (folder / cached.FILE).is_file() else None
        if features:
            own = design.method if design else _network(folder)
            place, sha256 = features.encoder, features.weights_sha256
            return cls(
                own, features.target, features.classes, Path(place), sha256, features, design
            )
        design = design or Design.read(folder)
        place, sha256 = design.encoder, design.encoder_sha256
        return cls(design.method, design.target, design.classes, Path(place), sha256, None, design)

    @property
    def is_whole(self) -> bool:
        """Whether encoder and head become one model of transformers, with the same logits."""
        if not self.features:
            return True
        if not (self.design and self.weights_sha256 and self.features.precision == "fp32"):
            return False
        config = files.read_json(self.encoder / layout.CONFIG)
        return bool(config["model_type"] != layout.FEATURES_ALONE)

    def pinned(self) -> Pinned:
        """The encoder, by the published commit that it came from where that is known."""
        source = layout.Source.read(self.encoder)
        # One that a project ships has no repository: where it lies there is nobody else's concern.
        known = vars(source) if source.repository else {"licence": source.licence}
        name = "/".join(self.encoder.parts[-2:]).removeprefix(f"{layout.ENCODERS.name}/")
        return Pinned(name=name, weights_sha256=self.weights_sha256, **known)


def write(folder: Path, out: Path, origin: Origin, by_pin: bool) -> Usage:
    """Write weights and settings into an existing folder; what its card shows is returned.

    Args:
        folder: The classifier.
        out: Where to.
        origin: Of the classifier.
        by_pin: Leave the weights of a published encoder out.

    Raises:
        PipelineError: ``by_pin``, and the encoder was trained here or is not published.
    """
    cutting, scale = preprocessing.read(folder), calibration.read(folder)
    if cutting:
        preprocessing.write(out, cutting)
    if scale:
        files.write_json(out / calibration.FILE, scale.model_dump())
    if by_pin:
        _require_pin(folder, origin)
    elif origin.is_whole:
        temperature = scale.temperature if scale else None
        return usage.with_transformers(_whole(folder, out), cutting, temperature)
    _parts(folder, out, origin, by_pin)
    return usage.OURS


def seal(out: Path) -> None:
    """Write the checksums of a finished folder; of the card none, which the hub's page edits."""
    found = [path for path in sorted(out.rglob("*")) if path.is_file()]
    lines = [
        f"{files.sha256(path)}  {path.relative_to(out).as_posix()}\n"
        for path in found
        if path.name not in (passport.CARD, files.SUMS)
    ]
    (out / files.SUMS).write_text("".join(lines), "utf-8", newline="\n")


def _network(folder: Path) -> str:
    from pipeline.methods.networks import crnn, regression

    if (folder / regression.DESIGN).is_file():
        return str(files.read_json(folder / regression.DESIGN)["head"])
    return "crnn" if (folder / crnn.DESIGN).is_file() else "linear"


def _require_pin(folder: Path, origin: Origin) -> None:
    if not origin.features:
        raise PipelineError(
            f"{folder}: {origin.method} trained its encoder, which no pin names, export it without "
            "--pin"
        )
    if not origin.pinned().revision:
        raise PipelineError(
            f"{folder}: its encoder {origin.encoder} is no published one, export it without --pin"
        )


def _whole(folder: Path, out: Path) -> Design:
    from pipeline.methods import classifier, lora

    model = classifier.load(folder)
    lora.merge(model)
    classifier.write_whole(model, out)
    # What is read back is a whole model, and names no folder of this machine.
    whole = {"method": "full", "lora": None, "encoder": ""}
    model.design.model_copy(update=whole).write(out)
    return model.design


def _parts(folder: Path, out: Path, origin: Origin, by_pin: bool) -> None:
    from pipeline.methods import emotion_head, lora
    from pipeline.methods.networks import crnn, regression

    assert origin.features  # noqa: S101 - is_whole is True without
    told = vars(origin.features) | {"encoder": passport.ENCODER}
    Features(**told).write(out)
    if origin.design:
        head = emotion_head.load(folder)
        lora.merge(head)
        plain = {"method": "frozen", "lora": None, "encoder": passport.ENCODER}
        head.design = head.design.model_copy(update=plain)
        emotion_head.save(head, out)
    for name in (crnn.DESIGN, regression.DESIGN, crnn.WEIGHTS):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, out / name)
    if not by_pin:
        (out / passport.ENCODER).mkdir()
        for name in (layout.CONFIG, layout.WEIGHTS, layout.PREPROCESSOR):
            if (origin.encoder / name).is_file():
                shutil.copyfile(origin.encoder / name, out / passport.ENCODER / name)
