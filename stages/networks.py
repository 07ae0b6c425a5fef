"""networks: regressors of shares or dimensions on the cached frames of one encoder, for one fold.

Writes what `finetune` writes: the regressors, their predictions on dev and test, and their learning
curves.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import Field

from pipeline.encoders.layers import Layer
from pipeline.ground.launch.start import elsewhere
from pipeline.ground.params import Section, load
from pipeline.ground.stage import run
from pipeline.methods import preprocessing
from pipeline.methods.features import Features
from pipeline.methods.finetuning import Count, Job, Network
from pipeline.splits import targets
from pipeline.splits.task import digest, of_role, scale
from pipeline.splits.valued import Shares, Valued
from pipeline.training.settings import Optimization
from pipeline.work.seeds import derive

Counts = Annotated[list[Count], Field(min_length=1, max_length=16)]


class FeedForwardParams(Section):
    """``networks.model.feed_forward``: widths between head and output, by head."""

    cnn_lstm: Annotated[Counts, Field(alias="cnn-lstm")]
    cnn_lstm_attention: Annotated[Counts, Field(alias="cnn-lstm-attention")]


class ModelParams(Section):
    """``networks.model``: widths, and where the paper and its code leave a choice.

    ``output`` is that of shares; that of dimensions is linear.
    """

    conv: Counts
    lstm_width: Count
    feed_forward: FeedForwardParams
    attention_scale: Literal["sqrt", "width"]
    output: Literal["sigmoid", "relu"]

    def of(self, head: Network, task: targets.Task) -> dict[str, Any]:
        """What `pipeline.methods.networks.regressor.Design` takes, for one head and task."""
        values = self.model_dump(by_alias=True)
        output = self.output if isinstance(task, Shares) else "linear"
        return values | {"feed_forward": values["feed_forward"][head], "output": output}


class TrainingParams(Optimization):
    """``networks.training``.

    ``regressors`` is separate for one network per value, as in the paper, or joint for one with an
    output per value.
    """

    regressors: Literal["separate", "joint"]
    standardize: bool


class NetworksParams(Section):
    """The ``networks`` section."""

    tasks: list[str]
    features: list[str]
    methods: list[Network]
    layer: Layer
    model: ModelParams
    training: TrainingParams


def main(
    task: Annotated[str, typer.Option(help="What is predicted: a name of `task`.")],
    features: Annotated[str, typer.Option(help="The encoder whose frames are read.")],
    method: Annotated[Network, typer.Option(help="The network on the frames.")],
    fold: Annotated[int, typer.Option(help="The fold, numbered from 0.")],
) -> None:
    """Train regressors on cached frames and predict dev and test."""
    from pipeline.embeddings.frames import Frames, Scale, require_frames
    from pipeline.embeddings.reader import opened, paths
    from pipeline.methods import adaptation
    from pipeline.methods.networks import regression
    from pipeline.methods.networks.regressor import Design
    from pipeline.training.fit import Fit

    targets.require_fitting("networks.tasks", task)
    params = load("networks", NetworksParams)
    own = [f"networks.{name}" for name in ("layer", "model", "training")]
    job = Job.prepare(
        task, features, method, fold, own, paths(features, load("corpora", list[str]))
    )
    settings, train = params.training, of_role(job.found, "train")
    seed = derive(load("seed", int), "share", fold)  # as it was when they learnt shares alone
    with opened(features, job.clips) as corpora:
        require_frames("networks.features", corpora)
        frames = Frames(corpora, params.layer)
        design = Design(width=frames.width, **_told(method, params, job))
        measured = Scale.of(frames, train, settings.standardize)
        headers = [asdict(header) for header in frames.headers]
        inputs = [design.model_dump(), params.layer, digest(job.found), headers]
        source = regression.ScaledFrames(frames, measured)
        fit = Fit.prepare("networks", settings, seed, inputs, source, job.found)
        model = regression.untrained(design, train, seed).to(fit.device)

        def save(out: Path) -> None:
            regression.save(model, measured, out)
            Features.of(corpora[0].header, [params.layer], job.task).write(out)
            preprocessing.carry(out, job.made)

        adaptation.run(job, fit, model, save)


def _told(method: Network, params: NetworksParams, job: Job) -> dict[str, Any]:
    """What a design has beside the width of its frames; shares are learnt as they are."""
    task, count = job.task, len(job.task.names)
    assert isinstance(task, Valued)  # noqa: S101 - others are refused
    means, deviations = scale(task, job.found)
    if isinstance(task, Shares):
        means, deviations = [0.0] * count, [1.0] * count
    return {
        "head": method,
        "classes": task.names,
        "means": means,
        "deviations": deviations,
        "joint": params.training.regressors == "joint",
        "loss": task.loss,
        **params.model.of(method, task),
    }


if __name__ == "__main__":
    run(main, elsewhere)
