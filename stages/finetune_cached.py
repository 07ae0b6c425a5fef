"""finetune_cached: a classifier of emotions from cached embeddings, for one fold.

No encoder runs. Reads the embeddings of one encoder; writes what `finetune` writes: the classifier,
its predictions on dev and test, and its learning curve.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pipeline.encoders import layout
from pipeline.ground import files
from pipeline.ground.launch.ahead import ahead
from pipeline.ground.params import load
from pipeline.ground.stage import run
from pipeline.methods import preprocessing
from pipeline.methods.features import Features
from pipeline.methods.finetuning import Cached, Job, LinearParams, Methods, loss_of
from pipeline.splits.targets import kind
from pipeline.splits.task import digest, scale
from pipeline.work.seeds import derive


def main(
    task: Annotated[str, typer.Option(help="What is predicted: a name of `task`.")],
    features: Annotated[str, typer.Option(help="The encoder whose embeddings are read.")],
    method: Annotated[Cached, typer.Option(help="What is trained.")],
    fold: Annotated[int, typer.Option(help="The fold, numbered from 0.")],
) -> None:
    """Train a classifier of emotions on cached embeddings and predict dev and test."""
    from pipeline.embeddings.reader import opened, paths

    read = paths(features, load("corpora", list[str]))
    job = Job.prepare(task, features, method, fold, [f"finetune.methods.{method}"], read)
    with opened(features, job.clips) as corpora:
        if method == "linear":
            _linear(load("finetune.methods.linear", LinearParams), job, corpora)
        else:
            _head(method, job, corpora)


def _linear(params: LinearParams, job: Job, corpora: Any) -> None:
    from pipeline.methods import calibration, linear
    from pipeline.training import predictions

    header = corpora[0].header
    # Functionals are one frame a clip, and have no deviation.
    deviation = params.pooling == "mean-std" and header.hop_samples > 0
    vectors = linear.vectors(corpora, params.layer, job.found, deviation)
    weights, told = job.class_weights(params), kind(job.task.target)
    by_class = None if weights is None else dict(enumerate(weights.tolist()))
    model = linear.fit(params.kind, told, job.found, vectors, params.c, by_class)
    scored = [row for row, example in enumerate(job.found) if example.role != "train"]
    with files.publish(job.target) as out:
        out.mkdir()
        linear.save(model, out / "model.safetensors")
        Features.of(header, [params.layer], job.task, deviation).write(out)
        logits = linear.logits(model, vectors[scored])
        predictions.write(out, job.task, job.scored, logits)
        calibration.write(out, job.task)
        predictions.write_history(out, [])
        preprocessing.carry(out, job.made)


def _head(method: Literal["frozen", "lora-classifier"], job: Job, corpora: Any) -> None:
    from pipeline.methods import adaptation, emotion_head, summary
    from pipeline.methods.cached_head import CachedHead, source
    from pipeline.training.fit import Fit

    methods, header = load("finetune.methods", Methods), corpora[0].header
    params = methods.frozen if method == "frozen" else methods.lora_classifier
    job.require_classes(f"finetune.methods.{method}", params.loss, params.training)
    averages, deviations = scale(job.task, job.found)
    design = emotion_head.Design(
        method=method,
        target=kind(job.task.target),
        classes=job.task.names,
        means=averages,
        deviations=deviations,
        encoder=str(layout.ENCODERS / job.start),
        encoder_sha256=header.weights_sha256,
        width=header.width,
        blocks=header.blocks,
        model=params.model,
        loss=loss_of(job.task, params.loss),
        lora=None if method == "frozen" else methods.lora_classifier.lora,
    )
    headers = [asdict(corpus.header) for corpus in corpora]
    inputs = [design.model_dump(), params.loss.model_dump(), digest(job.found), headers]
    seed = derive(load("seed", int), "finetune", job.fold)
    read = source(corpora, design)
    fit = Fit.prepare("finetune_cached", params.training, seed, inputs, read, job.found)
    head = emotion_head.build(design)
    head.meet(job.class_weights(params.loss), params.loss.gamma)
    model = CachedHead(head).to(fit.device)

    def save(out: Path) -> None:
        emotion_head.save(head, out)
        Features.of(header, design.layers, job.task).write(out)
        summary.write(out, summary.rows(None, head))
        preprocessing.carry(out, job.made)

    adaptation.run(job, fit, model, save)


if __name__ == "__main__":
    run(main, ahead)
