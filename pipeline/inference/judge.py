"""A trained classifier of any method at work: waveforms to logits.

What `ser predict` and `ser export` use. A classifier on cached embeddings computes the same
embeddings of the waveforms first, in the precision in which they were cached.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError

from pipeline.audio.formats import SAMPLE_RATE_HZ, Samples
from pipeline.embeddings.reader import Embedding, Precision
from pipeline.encoders import layout
from pipeline.encoders.layers import Layer
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.methods import features as cached
from pipeline.methods.emotion_head import DESIGN, Design
from pipeline.methods.features import Features
from pipeline.methods.finetuning import Target
from pipeline.methods.networks import crnn

Floats = npt.NDArray[np.float32]
Logits = Callable[[Sequence[Samples]], Floats]
OnVectors = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Judge:
    """The classes, and the function from clips, (samples,) each, to logits (clips, classes).

    Of the target dimensions these are its names, and its values.
    """

    target: Target
    classes: list[str]
    logits: Logits


def load(folder: Path) -> Judge:
    """The classifier in ``folder``, a stage's output; its encoder is looked for in the project.

    Raises:
        PipelineError: The folder is no classifier's, incomplete or damaged, or its encoder is
            missing or another one.
    """
    try:
        found = _load(folder)
        require_sound(folder, found)
        return found
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise PipelineError(
            f"{folder}: damaged or not written by this version ({reason}), run `dvc repro`"
        ) from None


def require_sound(folder: Path, found: Judge) -> None:
    """Try a classifier on a second of noise: its parts may fit their settings, not each other.

    Raises:
        PipelineError: It does not give a finite logit for each of its classes.
    """
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, SAMPLE_RATE_HZ).astype(np.float32)
    with np.errstate(all="ignore"):  # told below
        made = found.logits([noise])
    expected = (1, len(found.classes))
    if made.shape != expected or not np.isfinite(made).all():
        raise PipelineError(
            f"{folder}: expected finite logits of shape {expected}, one for each class, got "
            f"{made.shape}, {np.isfinite(made).sum()} of them finite, run `dvc repro`"
        )


def _load(folder: Path) -> Judge:
    if (folder / cached.FILE).is_file():
        features = Features.read(folder)
        if (folder / crnn.DESIGN).is_file():
            return _crnn(folder, features)
        if (folder / DESIGN).is_file() and not Design.read(folder).reads_means:
            return _on_frames(folder, features)
        on_vectors = _head(folder) if (folder / DESIGN).is_file() else _linear(folder)
        embed = _embedder(folder, features)
        return Judge(features.target, features.classes, lambda waves: on_vectors(embed(waves)))
    if not (folder / DESIGN).is_file():
        raise PipelineError(
            f"{folder}: no {DESIGN}, expected the folder of a classifier, such as "
            "artifacts/classifiers/emotion/pretrained/full/0"
        )
    return _live(folder)


def _live(folder: Path) -> Judge:
    from pipeline.ground import stage
    from pipeline.methods import classifier
    from pipeline.work.device import select

    return of(classifier.load(folder).to(select(stage.runtime().device)))


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


def _crnn(folder: Path, features: Features) -> Judge:
    model, scale = crnn.load(folder)
    return _of_frames(folder, features, lambda found, n: model(scale(found[0]), n))


def _on_frames(folder: Path, features: Features) -> Judge:
    from pipeline.methods import emotion_head

    return _of_frames(folder, features, emotion_head.load(folder))


def _of_frames(folder: Path, features: Features, model: Callable[..., Any]) -> Judge:
    """What reads the cached frames of each layer, (1, frames, width), and their number, (1,)."""
    import torch

    embed = _embed(folder, features, features.layers)

    @torch.inference_mode()
    def logits(waves: Sequence[Samples]) -> Floats:
        made = []
        for one in embed(waves):
            stored = [one.frames[layer].astype(features.dtype) for layer in features.layers]
            frames = [torch.from_numpy(values.astype(np.float32))[None] for values in stored]
            made.append(model(frames, torch.tensor([frames[0].shape[1]])))
        result: Floats = torch.cat(made).numpy()
        return result

    return Judge(features.target, features.classes, logits)


def _embed(
    folder: Path, features: Features, frames: Sequence[Layer]
) -> Callable[[Sequence[Samples]], Sequence[Embedding]]:
    """The encoder that ``features`` names, keeping frames of some layers and means of all."""
    from pipeline.embeddings import extraction

    encoder = Path(features.encoder)
    kept = extraction.Kept(list(frames), features.layers, _precision(features), features.dtype)
    with files.unchanged(encoder / layout.WEIGHTS):
        if layout.weights_sha256(encoder) != features.weights_sha256:
            raise PipelineError(
                f"{folder}: belongs to another encoder than {encoder}, run `dvc repro`"
            )
        return extraction.embedder(encoder, encoder.name, kept)[0]


def _precision(features: Features) -> Precision:
    """That of the cached embeddings; where no GPU has fp16, fp32, which is nearer to the truth."""
    if features.precision != "fp16":
        return features.precision
    from pipeline.ground import stage
    from pipeline.work.device import select

    return "fp16" if select(stage.runtime().device).type == "cuda" else "fp32"


def _embedder(folder: Path, features: Features) -> Callable[[Sequence[Samples]], Floats]:
    """Clips to what the heads and `linear` read: (clips, layers, width or 2 width)."""
    frames = features.layers if features.deviation else []
    embed = _embed(folder, features, frames)

    def of(waves: Sequence[Samples]) -> Iterator[Floats]:
        for one in embed(waves):
            means = [one.means[layer] for layer in features.layers]
            stored = [one.frames[layer].astype(features.dtype) for layer in frames]
            spreads = [values.astype(np.float32).std(0) for values in stored]
            pairs = zip(means, spreads, strict=True)
            yield np.stack([np.concatenate(pair) for pair in pairs] if spreads else means)

    return lambda waves: np.stack(list(of(waves)))


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
