"""finetune: a classifier of emotions, by one method from one start, for one fold.

The start is ``pretrained`` (the encoder as it came), ``retrained`` (after masked prediction of this
fold's units) or the name of an encoder whose cached embeddings are read (method ``linear``).
Writes the classifier, its predictions on dev and test, and its learning curve.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from pydantic import Field

from pipeline import files, folds, layout, manifest
from pipeline.errors import PipelineError
from pipeline.layers import Layer
from pipeline.manifest import Clip
from pipeline.params import Section, load
from pipeline.seeds import derive
from pipeline.settings import Training
from pipeline.stage import run
from pipeline.task import Example, Task, digest, examples, of_role

if TYPE_CHECKING:
    from pipeline.classifier import Design

Method = Literal["full", "lora-qkv", "linear"]


class ModelParams(Section):
    """``finetune.model``: what stands on the encoder."""

    head: Literal["pool", "bilstm"]
    layer: Layer
    projection: Annotated[int, Field(ge=1)]
    lstm_width: Annotated[int, Field(ge=1)]


class LossParams(Section):
    """``finetune.loss``."""

    name: Literal["ce", "am-softmax"]
    scale: Annotated[float, Field(gt=0)]
    margin: Annotated[float, Field(ge=0)]


class LoraParams(Section):
    """``finetune.methods.lora-qkv``."""

    rank: Annotated[int, Field(ge=1)]
    alpha: Annotated[float, Field(gt=0)]
    dropout: Annotated[float, Field(ge=0, lt=1)]


class FullParams(Section):
    """``finetune.methods.full``: everything trains, there is nothing to set."""


class LinearParams(Section):
    """``finetune.methods.linear``."""

    layer: Layer
    pooling: Literal["mean", "mean-std"]
    c: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]


class Methods(Section):
    """``finetune.methods``: what each method alone needs."""

    full: FullParams
    lora_qkv: Annotated[LoraParams, Field(alias="lora-qkv")]
    linear: LinearParams


class FinetuneParams(Section):
    """The ``finetune`` section."""

    model: ModelParams
    loss: LossParams
    training: Training
    methods: Methods


@dataclass(frozen=True)
class Job:
    """One classifier: what the command line names, all clips, and the fold's examples."""

    start: str
    method: Method
    fold: int
    task: Task
    clips: Sequence[Clip]
    found: Sequence[Example]

    @property
    def target(self) -> Path:
        """The folder to write."""
        return manifest.ARTIFACTS / "classifiers" / self.start / self.method / str(self.fold)

    @property
    def scored(self) -> list[Example]:
        """The examples of dev and test."""
        return [example for example in self.found if example.role != "train"]


def main(
    start: Annotated[str, typer.Option(help="pretrained, retrained, or an encoder's name.")],
    method: Annotated[Method, typer.Option(help="How the encoder is adapted.")],
    fold: Annotated[int, typer.Option(help="The fold, numbered from 0.")],
) -> None:
    """Train a classifier of emotions and predict dev and test."""
    if (method == "linear") == (start in ("pretrained", "retrained")):
        wanted = "an encoder of features" if method == "linear" else "pretrained or retrained"
        raise PipelineError(f"--start: {method} starts from {wanted}, got {start!r}")
    params = load("finetune", FinetuneParams)
    task = load("task", Task)
    clips = manifest.read(load("corpora", list[str]))
    job = Job(start, method, fold, task, clips, examples(task, clips, folds.read(fold)))
    if job.method == "linear":
        _linear(params.methods.linear, job)
    else:
        _train(params, job)


def _linear(params: LinearParams, job: Job) -> None:
    from pipeline import linear, predictions
    from pipeline.embeddings import opened

    with opened(job.start, job.clips) as corpora:
        vectors = linear.vectors(corpora, params.layer, job.found, params.pooling == "mean-std")
    model = linear.fit(job.found, vectors, params.c)
    scored = [row for row, example in enumerate(job.found) if example.role != "train"]
    with files.publish(job.target) as out:
        out.mkdir()
        linear.save(model, out / "model.safetensors")
        logits = linear.log_probabilities(model, vectors[scored])
        predictions.write(out, job.task.classes, job.scored, logits)
        predictions.write_history(out, [])


def _train(params: FinetuneParams, job: Job) -> None:
    from pipeline import classifier, encoder, predictions
    from pipeline.training import Fit

    base = (
        manifest.ARTIFACTS / "retrained" / str(job.fold)
        if job.start == "retrained"
        else layout.ENCODERS / load("pretrained", str)
    )
    design = _design(params, job, layout.weights_sha256(base))
    seed = derive(load("seed", int), "finetune", job.fold)
    inputs = [design.model_dump(), digest(job.found)]
    fit = Fit.prepare("finetune", params.training, seed, inputs)
    pretrained = encoder.load(base, freeze_conv=params.training.freeze_conv)
    model = classifier.Classifier(pretrained, design).to(fit.device)
    history = fit.run(
        model,
        of_role(job.found, "train"),
        of_role(job.found, "dev"),
        lambda dev: classifier.score(fit, model, dev),
    )
    with files.publish(job.target) as out:
        out.mkdir()
        classifier.save(model, out)
        predictions.write(
            out, job.task.classes, job.scored, classifier.logits(fit, model, job.scored)
        )
        predictions.write_history(out, history)
    fit.discard()


def _design(params: FinetuneParams, job: Job, encoder_sha256: str) -> "Design":
    from pipeline.classifier import Design

    lora = params.methods.lora_qkv.model_dump() if job.method == "lora-qkv" else {}
    return Design.model_validate(
        {
            "method": job.method,
            "classes": job.task.classes,
            **params.model.model_dump(),
            "loss": params.loss.name,
            "scale": params.loss.scale,
            "margin": params.loss.margin,
            "encoder_sha256": encoder_sha256,
            **lora,
        }
    )


if __name__ == "__main__":
    run(main)
