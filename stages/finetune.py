"""finetune: a classifier of emotions on an encoder that it adapts, by one method, for one fold.

The start is ``pretrained`` (the encoder as it came) or ``retrained`` (after masked prediction of
this fold's units). Writes the classifier, its predictions on dev and test, and its learning curve.
"""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.corpora import manifest
from pipeline.encoders import layout
from pipeline.ground.launch.start import elsewhere
from pipeline.ground.params import load
from pipeline.ground.stage import run, runtime
from pipeline.methods import preprocessing
from pipeline.methods.finetuning import FinetuneParams, Job, Start, Trained, loss_of
from pipeline.splits.targets import kind
from pipeline.splits.task import digest, scale
from pipeline.work.seeds import derive


def main(
    task: Annotated[str, typer.Option(help="What is predicted: a name of `task`.")],
    start: Annotated[Start, typer.Option(help="The encoder to start from.")],
    method: Annotated[Trained, typer.Option(help="How the encoder is adapted.")],
    fold: Annotated[int, typer.Option(help="The fold, numbered from 0.")],
) -> None:
    """Train a classifier of emotions and predict dev and test."""
    from pipeline.encoders import encoder
    from pipeline.methods import adaptation, classifier, summary
    from pipeline.methods.emotion_head import Design
    from pipeline.training.fit import Fit
    from pipeline.training.waves import Waves

    params = load("finetune", FinetuneParams)
    retrained, pretrained = manifest.ARTIFACTS / "retrained" / str(fold), load("pretrained", str)
    base = retrained if start == "retrained" else layout.of_fold(pretrained, fold)
    sections = [f"finetune.{name}" for name in ("model", "loss", "training", f"methods.{method}")]
    own = ["pretrained"] if start == "pretrained" else []
    layout.require_trainable(base)
    job = Job.prepare(task, start, method, fold, [*sections, *own], [base])
    job.require_classes("finetune", params.loss, params.training)
    blocks, width = layout.shape(base)
    means, deviations = scale(job.task, job.found)
    design = Design(
        method=method,
        target=kind(job.task.target),
        classes=job.task.names,
        means=means,
        deviations=deviations,
        encoder=str(base),
        encoder_sha256=layout.weights_sha256(base),
        width=width,
        blocks=blocks,
        model=params.model,
        loss=loss_of(job.task, params.loss),
        lora=params.methods.lora_qkv if method == "lora-qkv" else None,
    )
    seed = derive(load("seed", int), "finetune", fold)
    inputs = [design.model_dump(), params.loss.model_dump(), digest(job.found)]
    body = encoder.load(base, params.training.freeze_conv, runtime().gradient_checkpointing)
    fit = Fit.prepare("finetune", params.training, seed, inputs, Waves(body))
    model = classifier.Classifier(body, design).to(fit.device)
    model.head.meet(job.class_weights(params.loss), params.loss.gamma)

    def save(out: Path) -> None:
        classifier.save(model, out)
        summary.write(out, summary.rows(body, model.head))
        preprocessing.carry(out, job.made)

    adaptation.run(job, fit, model, save)


if __name__ == "__main__":
    run(main, elsewhere)
