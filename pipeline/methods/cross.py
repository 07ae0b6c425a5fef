"""Training on cached embeddings without a classifier to keep: what the stage `cross` learns by.

The methods are those of `finetune_cached`, with its settings.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
import numpy.typing as npt

from pipeline.corpora.manifest import Clip
from pipeline.embeddings.reader import Embeddings
from pipeline.encoders import layout
from pipeline.methods import linear
from pipeline.methods.finetuning import ClassWeights, FrozenParams, LinearParams, loss_of
from pipeline.splits import imbalance
from pipeline.splits.targets import Emotion
from pipeline.splits.task import Example, digest, of_role

Logits = npt.NDArray[np.float32]
# From classes, the examples of a fold and a seed to the logits of its test examples.
Learn = Callable[[Emotion, Sequence[Example], int], Logits]


def by_linear(params: LinearParams, corpora: Sequence[Embeddings], clips: Sequence[Clip]) -> Learn:
    """Learn by `pipeline.methods.linear`; the vectors of ``clips`` are read once."""
    # Functionals are one frame a clip, and have no deviation.
    deviation = params.pooling == "mean-std" and corpora[0].header.hop_samples > 0
    every = [Example(clip, "", -1, None) for clip in clips]
    vectors = linear.vectors(corpora, params.layer, every, deviation)
    row = {clip.clip: number for number, clip in enumerate(clips)}

    def of(found: Sequence[Example]) -> linear.Vectors:
        return vectors[[row[example.clip.clip] for example in found]]

    def learn(task: Emotion, found: Sequence[Example], _seed: int) -> Logits:
        weights = _weights(params, task, found)
        by_class = None if weights is None else dict(enumerate(weights.tolist()))
        model = linear.fit(params.kind, task.target, found, of(found), params.c, by_class)
        return linear.logits(model, of(of_role(found, "test")))

    return learn


def by_frozen(
    params: FrozenParams, start: str, task: Emotion, corpora: Sequence[Embeddings]
) -> Learn:
    """Learn by a head on what is cached of the encoder ``start``."""
    from pipeline.methods import adaptation, emotion_head
    from pipeline.methods.cached_head import CachedHead, source
    from pipeline.training import loop
    from pipeline.training.fit import Fit

    header = corpora[0].header

    def design(of: Emotion) -> emotion_head.Design:
        return emotion_head.Design(
            method="frozen",
            target=of.target,
            classes=of.names,
            means=[],
            deviations=[],
            encoder=str(layout.ENCODERS / start),
            encoder_sha256=header.weights_sha256,
            width=header.width,
            blocks=header.blocks,
            model=params.model,
            loss=loss_of(of, params.loss),
        )

    read, headers = source(corpora, design(task)), [asdict(corpus.header) for corpus in corpora]

    def learn(own: Emotion, found: Sequence[Example], seed: int) -> Logits:
        made = design(own)
        inputs = [made.model_dump(), params.loss.model_dump(), digest(found), headers]
        fit = Fit.prepare("cross", params.training, seed, inputs, read, found)
        head = emotion_head.build(made)
        head.meet(_weights(params.loss, own, found), params.loss.gamma)
        model = CachedHead(head).to(fit.device)
        train, dev = of_role(found, "train"), of_role(found, "dev")
        loop.train(fit, model, train, dev, lambda: adaptation.score(fit, model, dev, own.target))
        logits = adaptation.logits(fit, model, of_role(found, "test"))
        fit.discard()
        return logits

    return learn


def _weights(
    params: ClassWeights, task: Emotion, found: Sequence[Example]
) -> imbalance.Floats | None:
    labels = [example.label for example in of_role(found, "train")]
    return imbalance.weights(params.class_weight, labels, len(task.names), params.beta)
