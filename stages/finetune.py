"""finetune: a classifier of emotions on an encoder that it adapts, by one method, for one fold.

The start is ``pretrained`` (the encoder as it came) or ``retrained`` (after masked prediction of
this fold's units). Writes the classifier, its predictions on dev and test, and its learning curve.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import files, layout, manifest
from pipeline.finetuning import FinetuneParams, Job, Start, Trained
from pipeline.params import load
from pipeline.seeds import derive
from pipeline.stage import run, runtime
from pipeline.task import digest, of_role

if TYPE_CHECKING:
    from pipeline.classifier import Design


def main(
    start: Annotated[Start, typer.Option(help="The encoder to start from.")],
    method: Annotated[Trained, typer.Option(help="How the encoder is adapted.")],
    fold: Annotated[int, typer.Option(help="The fold, numbered from 0.")],
) -> None:
    """Train a classifier of emotions and predict dev and test."""
    from pipeline import classifier, encoder, predictions
    from pipeline.training import Fit
    from pipeline.waves import Waves

    params = load("finetune", FinetuneParams)
    job = Job.prepare(start, method, fold)
    base = (
        manifest.ARTIFACTS / "retrained" / str(fold)
        if start == "retrained"
        else layout.ENCODERS / load("pretrained", str)
    )
    design = _design(params, job, layout.weights_sha256(base))
    seed = derive(load("seed", int), "finetune", fold)
    inputs = [design.model_dump(), digest(job.found)]
    pretrained = encoder.load(base, params.training.freeze_conv, runtime().gradient_checkpointing)
    fit = Fit.prepare("finetune", params.training, seed, inputs, Waves(pretrained))
    model = classifier.Classifier(pretrained, design).to(fit.device)
    history = fit.run(
        model,
        of_role(job.found, "train"),
        of_role(job.found, "dev"),
        lambda dev: classifier.score(fit, model, dev),
    )
    if not fit.processes.main:
        return
    logits = classifier.logits(fit, model, job.scored)
    with files.publish(job.target) as out:
        out.mkdir()
        classifier.save(model, out)
        predictions.write(out, job.task.classes, job.scored, logits)
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
