"""A trained classifier of any method at work: waveforms to logits.

What `ser predict` and `ser export` use, for a stage's output and for an exported model. What learnt
from cached embeddings computes the same of the waveforms first, in the precision in which they were
cached. Nothing here imports torch before a model needs it.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError

from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples
from pipeline.embeddings.reader import Embedding, Precision
from pipeline.encoders import layout
from pipeline.encoders.layers import Layer
from pipeline.ground import files, stage
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import parse
from pipeline.inference import passport
from pipeline.inference.passport import Passport
from pipeline.methods import calibration
from pipeline.methods import features as cached
from pipeline.methods.features import Features
from pipeline.methods.finetuning import Target
from pipeline.metrics import mixture

Floats = npt.NDArray[np.float32]
Logits = Callable[[Sequence[Samples]], Floats]
OnVectors = Callable[[Floats], Floats]
ONNX = {"onnx": "model.onnx", "onnx-int8": "model.int8.onnx"}
# What a graph says of the samples that it takes, in its metadata.
LEAST, MOST = "least_samples", "most_samples"
Embed = Callable[[Sequence[Samples]], Sequence[Embedding]]
OfEmbeddings = Callable[[Iterable[Embedding]], Floats]


@dataclass(frozen=True)
class Pooling:
    """How an ensemble judges several clips as one: its members' own logits are meant before it.

    ``rows`` are these, (clips, members times classes); ``settle`` turns their means (..., same)
    into logits (..., classes).
    """

    rows: Logits
    settle: Callable[[Floats], Floats]


@dataclass(frozen=True)
class Judge:
    """The classes, and the function from clips, (samples,) each, to logits (clips, classes).

    Of the target dimensions these are its names, and its values. Whoever judges several clips as
    one takes the mean of `rows` and has it `settled`.
    """

    target: Target
    classes: list[str]
    logits: Logits
    pooling: Pooling | None = None

    def rows(self, waves: Sequence[Samples]) -> Floats:
        """What is meant over clips: the logits, but of an ensemble."""
        return self.pooling.rows(waves) if self.pooling else self.logits(waves)

    def settled(self, mean: Floats) -> Floats:
        """The logits that follow from means of `rows`."""
        return self.pooling.settle(mean) if self.pooling else mean

    def through(self, rows: Logits) -> "Judge":
        """The same with its `rows` computed by another function, such as one that waits."""
        if not self.pooling:
            return replace(self, logits=rows)
        settle = self.pooling.settle
        pooling = Pooling(rows, settle)
        return replace(self, logits=lambda waves: settle(rows(waves)), pooling=pooling)

    def after(self, change: Callable[[Floats], Floats]) -> "Judge":
        """The same with its logits (..., classes) changed."""
        pooling = self.pooling and Pooling(
            self.pooling.rows, lambda mean: change(self.settled(mean))
        )
        return replace(self, logits=lambda waves: change(self.logits(waves)), pooling=pooling)


def load(folder: Path, device: str = "", backend: str = "torch") -> Judge:
    """The classifier in ``folder``: a stage's output, or an exported model, wherever it lies.

    Args:
        folder: Of a stage's output, the encoder is looked for in the project.
        device: As ``runtime.device``; empty for `own_device`.
        backend: ``torch``, or onnxruntime alone: ``onnx``, ``onnx-int8``.

    Raises:
        PipelineError: The folder is no classifier's, incomplete or damaged, or its encoder is
            missing or another one.
    """
    with damage_told(folder):
        if (told := passport.Passport.read(folder)) and (folder / passport.ENSEMBLE).is_file():
            found = _ensemble(folder, device, backend, told)
        elif backend == "torch":
            found = _load(folder, device or own_device(folder), told)
        else:
            found = _of_onnx(folder, ONNX[backend])
        require_sound(folder, found)
        return found


@contextmanager
def damage_told(folder: Path) -> Iterator[None]:
    """Say of whatever a library says of a classifier's files that they are damaged.

    Raises:
        PipelineError: They are.
    """
    try:
        yield
    except (
        SafetensorError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise PipelineError(
            f"{folder}: damaged or not written by this version ({reason}), run `dvc repro`"
        ) from None


def own_device(folder: Path) -> str:
    """``runtime.device`` where a project's classifier is used in the project, else ``auto``."""
    return stage.runtime().device if passport.is_at_home(folder) else "auto"


def require_sound(folder: Path, found: Judge) -> None:
    """Try a classifier on a second of noise: its parts may fit their settings, not each other.

    Raises:
        PipelineError: It does not give a finite logit for each of its classes.
    """
    made = _of_noise(found)
    expected = (1, len(found.classes))
    if made.shape != expected or not np.isfinite(made).all():
        raise PipelineError(
            f"{folder}: expected finite logits of shape {expected}, one for each class, got "
            f"{made.shape}, {np.isfinite(made).sum()} of them finite, run `dvc repro`"
        )


def require_alike(one: Judge, other: Judge, folder: Path) -> None:
    """Check that what was written says what the classifier in ``folder`` says.

    Raises:
        PipelineError: It does not.
    """
    if not np.allclose(_of_noise(one), _of_noise(other), rtol=1e-4, atol=1e-4):
        raise PipelineError(
            f"{folder}: expected its logits of what was written, got others, a defect of it"
        )


def _of_noise(found: Judge) -> Floats:
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, SAMPLE_RATE_HZ).astype(np.float32)
    with np.errstate(all="ignore"):  # what is not finite is told by whoever asked
        return found.logits([noise])


def _load(folder: Path, device: str, told: Passport | None) -> Judge:
    from pipeline.methods.emotion_head import DESIGN

    if (folder / cached.FILE).is_file():
        found = _of_parts(folder, device, told)
    elif (folder / DESIGN).is_file():
        found = _live(folder, device, told)
    else:
        raise PipelineError(
            f"{folder}: no {DESIGN}, expected the folder of a classifier, such as "
            "artifacts/classifiers/emotion/pretrained/full/0, or of an exported model"
        )
    if told and told.classes != found.classes:
        raise PipelineError(
            f"{folder / passport.FILE}: expected the classes {', '.join(found.classes)}, got "
            f"{', '.join(told.classes)}, export the model again"
        )
    return found


def _ensemble(folder: Path, device: str, backend: str, told: Passport) -> Judge:
    made = parse(folder / passport.ENSEMBLE, passport.Ensemble)
    places = [folder / name for name in made.folders]
    members = [load(place, device, backend) for place in places]
    scales = map(calibration.read, places)
    temperatures = [scale.temperature if scale else 1.0 for scale in scales]
    return average(members, temperatures, made.weights, told.target, told.classes)


def average(
    members: Sequence[Judge],
    temperatures: Sequence[float],
    weights: Sequence[float],
    target: Target,
    classes: list[str],
) -> Judge:
    """What judges say of the same clips: the mean of calibrated probabilities, or of values."""
    if any((one.target, one.classes) != (target, classes) for one in members):
        raise ValueError(f"members that do not all tell {', '.join(classes)}")
    shape = len(members), len(classes)

    def rows(waves: Sequence[Samples]) -> Floats:
        return np.concatenate([one.rows(waves) for one in members], 1)

    def settle(mean: Floats) -> Floats:
        parts = mean.astype(np.float64).reshape(*mean.shape[:-1], *shape)
        if target == "dimensions":
            found = mixture.mixed(np.moveaxis(parts, -2, 0), weights)
        else:
            scaled = parts / np.array(temperatures)[:, None]
            told_of = np.exp(scaled - np.logaddexp.reduce(scaled, axis=-1, keepdims=True))
            found = mixture.logits(mixture.mixed(np.moveaxis(told_of, -2, 0), weights))
        return found.astype(np.float32)

    return Judge(target, classes, lambda waves: settle(rows(waves)), Pooling(rows, settle))


def _of_onnx(folder: Path, name: str) -> Judge:
    told = passport.require(folder)
    if not (folder / name).is_file():
        raise PipelineError(f"{folder}: no {name}, export the model again with --onnx or --int8")
    try:
        import onnxruntime
    except ImportError:
        raise PipelineError(
            "onnxruntime: not installed, run `pip install 'ser-pipeline[onnx]'`"
        ) from None
    files.require_intact(folder / name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 0)
    try:
        session = onnxruntime.InferenceSession(
            folder / name, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # noqa: BLE001 - onnxruntime's have no common kind
        raise ValueError(error) from None

    limits = session.get_modelmeta().custom_metadata_map
    least, most = float(limits.get(LEAST, 0)), float(limits.get(MOST, "inf"))

    def of_one(wave: Samples) -> Floats:
        if not least <= len(wave) <= most:
            raise PipelineError(
                f"{folder / name}: expected clips of {least / SAMPLE_RATE_HZ:g} to "
                f"{most / SAMPLE_RATE_HZ:g} s, got {len(wave) / SAMPLE_RATE_HZ:g} s, set another "
                "--segment-s"
            )
        found: Floats = session.run(["logits"], {"wave": wave[None]})[0]
        return found

    return Judge(
        told.target, told.classes, lambda waves: np.concatenate([of_one(wave) for wave in waves])
    )


def _of_parts(folder: Path, device: str, told: Passport | None) -> Judge:
    features = Features.read(folder)
    frames, of_embeddings = on_embeddings(folder, features)
    embed = _embed(folder, features, _encoder(features, folder, told), device, frames)
    return Judge(features.target, features.classes, lambda waves: of_embeddings(embed(waves)))


def on_embeddings(folder: Path, features: Features) -> tuple[list[Layer], OfEmbeddings]:
    """What learnt from cached embeddings, on embeddings; and the layers whose frames it reads.

    It reads the means of all of ``features.layers``.
    """
    from pipeline.methods import emotion_head
    from pipeline.methods.emotion_head import DESIGN, Design
    from pipeline.methods.networks import crnn, regression

    for kind in (crnn, regression):
        if (folder / kind.DESIGN).is_file():
            network, scale = kind.load(folder)
            return features.layers, _of_frames(features, partial(_scaled, network, scale))
    if (folder / DESIGN).is_file() and not Design.read(folder).reads_means:
        return features.layers, _of_frames(features, emotion_head.load(folder))
    on_vectors = _head(folder) if (folder / DESIGN).is_file() else _linear(folder)
    frames = features.layers if features.deviation else []
    return frames, lambda found: on_vectors(_vectors(features, frames, found))


def _scaled(network: Any, scale: Any, frames: Sequence[Any], lengths: Any) -> Any:
    return network(scale(frames[0]), lengths)


def _live(folder: Path, device: str, told: Passport | None) -> Judge:
    from pipeline.encoders import encoder as encoders
    from pipeline.methods import classifier
    from pipeline.methods.emotion_head import DESIGN, Design
    from pipeline.work.device import select

    if told and (method := Design.read(folder).method) != "full":
        raise PipelineError(
            f"{folder / DESIGN}: an exported model holds its whole encoder (method full), got "
            f"{method!r}, export it again"
        )
    model = classifier.load(folder)
    encoders.fold(model.encoder)
    return of(model.to(select(device)))


def of(model: Any) -> Judge:
    """A `pipeline.methods.classifier.Classifier`, wherever it lies, at work."""
    import torch

    device = next(model.parameters()).device

    @torch.inference_mode()
    def logits(waves: Sequence[Samples]) -> Floats:
        # One by one: exact to the bit, and on a CPU also the fastest.
        made = [model([torch.from_numpy(wave).to(device)]) for wave in waves]
        result: Floats = torch.cat(made).cpu().numpy()
        return result

    return Judge(model.design.target, model.design.classes, logits)


def _of_frames(features: Features, model: Callable[..., Any]) -> OfEmbeddings:
    """What reads the cached frames of each layer, (1, frames, width), and their number, (1,)."""
    import torch

    @torch.inference_mode()
    def logits(found: Iterable[Embedding]) -> Floats:
        made = []
        for one in found:
            stored = [one.frames[layer].astype(features.dtype) for layer in features.layers]
            frames = [torch.from_numpy(values.astype(np.float32))[None] for values in stored]
            made.append(model(frames, torch.tensor([frames[0].shape[1]])))
        result: Floats = torch.cat(made).numpy()
        return result

    return logits


def _embed(
    folder: Path, features: Features, encoder: Path, device: str, frames: Sequence[Layer]
) -> Embed:
    """The encoder that ``features`` names, keeping frames of some layers and means of all."""
    from pipeline.embeddings import extraction

    precision = _precision(features, device)
    kept = extraction.Kept(list(frames), features.layers, precision, features.dtype)
    with files.unchanged(encoder / layout.WEIGHTS):
        require_own(folder, features, encoder)
        return extraction.embedder(encoder, encoder.name, kept, device)[0]


def require_own(folder: Path, features: Features, encoder: Path) -> None:
    """Check that what the classifier in ``folder`` learnt from came of this encoder.

    Raises:
        PipelineError: It came of another.
    """
    if layout.weights_sha256(encoder) != features.weights_sha256:
        raise PipelineError(f"{folder}: belongs to another encoder than {encoder}, run `dvc repro`")


def _encoder(features: Features, folder: Path, told: Passport | None) -> Path:
    """Where the encoder lies: in an exported model, in the cache of its pin, or in the project."""
    if told is None:
        return Path(features.encoder)
    if told.encoder.revision and not (folder / passport.ENCODER).is_dir():
        from pipeline.inference import remote

        return remote.encoder(told.encoder)
    return folder / passport.ENCODER


def _precision(features: Features, device: str) -> Precision:
    """That of the cached embeddings; where no GPU has fp16, fp32, which is nearer to the truth."""
    if features.precision != "fp16":
        return features.precision
    from pipeline.work.device import select

    return "fp16" if select(device).type == "cuda" else "fp32"


def _vectors(features: Features, frames: Sequence[Layer], found: Iterable[Embedding]) -> Floats:
    """Clips to what the heads and `linear` read: (clips, layers, width or 2 width)."""

    def each() -> Iterator[Floats]:
        for one in found:
            means = [one.means[layer] for layer in features.layers]
            stored = [one.frames[layer].astype(features.dtype) for layer in frames]
            spreads = [values.astype(np.float32).std(0) for values in stored]
            pairs = zip(means, spreads, strict=True)
            yield np.stack([np.concatenate(pair) for pair in pairs] if spreads else means)

    return np.stack(list(each()))


def _linear(folder: Path) -> OnVectors:
    from pipeline.methods import linear

    planes = linear.load(folder / "model.safetensors")
    return lambda vectors: planes(vectors[:, 0])


def _head(folder: Path) -> OnVectors:
    import torch

    from pipeline.methods import emotion_head

    head = emotion_head.load(folder)

    @torch.inference_mode()
    def logits(vectors: Floats) -> Floats:
        means = torch.from_numpy(vectors)
        result: Floats = head.of_means(means.unbind(1)).numpy()
        return result

    return logits
