"""finetune_cached: a classifier of emotions from cached embeddings, for one fold.

No encoder runs. Reads the embeddings of one encoder; writes what `finetune` writes: the classifier,
its predictions on dev and test, and its learning curve.
"""

from typing import Annotated

import typer

from pipeline import files
from pipeline.finetuning import Cached, Job, LinearParams
from pipeline.params import load
from pipeline.stage import run


def main(
    features: Annotated[str, typer.Option(help="The encoder whose embeddings are read.")],
    method: Annotated[Cached, typer.Option(help="What is trained.")],
    fold: Annotated[int, typer.Option(help="The fold, numbered from 0.")],
) -> None:
    """Train a classifier of emotions on cached embeddings and predict dev and test."""
    job = Job.prepare(features, method, fold)
    _linear(load("finetune.methods.linear", LinearParams), job)


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


if __name__ == "__main__":
    run(main)
