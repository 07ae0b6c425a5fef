"""What a section asks of classes, and targets that have none to balance."""

from pathlib import Path

import pytest

from pipeline.ground.errors import PipelineError
from pipeline.ground.provenance import Provenance
from pipeline.methods.finetuning import Imbalance, Job
from pipeline.splits.targets import Emotion, Task, Votes
from pipeline.splits.valued import Dimensions
from pipeline.training.settings import Sampled

TASKS: dict[str, Task] = {
    "emotion": Emotion(target="emotion", classes=["a", "b"], merge={}),
    "heard": Votes(target="votes", classes=["a", "b"], merge={}, votes="primary", undecided="keep"),
    "affect": Dimensions(target="dimensions", dimensions=["arousal"], loss="ccc"),
}
PLAIN = Imbalance(class_weight="none", beta=0.9, gamma=0.0)
SHUFFLED, BALANCED = Sampled(sampling="shuffled"), Sampled(sampling="balanced")
FOCAL = PLAIN.model_copy(update={"gamma": 2.0})
WEIGHTED = PLAIN.model_copy(update={"class_weight": "effective-number"})


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize(
    ("loss", "training", "fits", "remedy"),
    [
        (PLAIN, SHUFFLED, TASKS.keys(), ""),
        (FOCAL, SHUFFLED, {"emotion", "heard"}, "finetune.loss.gamma 0.0"),
        (WEIGHTED, SHUFFLED, {"emotion"}, "finetune.loss.class_weight none"),
        (PLAIN, BALANCED, {"emotion"}, "finetune.training.sampling shuffled"),
    ],
)
def test_a_pair_fits_or_is_one_line(
    name: str, loss: Imbalance, training: Sampled, fits: set[str], remedy: str
) -> None:
    job = job_of(name)
    if name in fits:
        job.require_classes("finetune", loss, training)
        return
    with pytest.raises(PipelineError) as refused:
        job.require_classes("finetune", loss, training)
    assert str(refused.value) == (
        f"params.yaml: task.{name} is of {TASKS[name].target}, which are not balanced by class: "
        f"set {remedy}, or take it out of tasks"
    )


def test_votes_and_dimensions_weigh_every_clip_the_same() -> None:
    for name in ("heard", "affect"):
        assert job_of(name).class_weights(WEIGHTED) is None


def job_of(name: str) -> Job:
    """A job without a clip."""
    made = Provenance(params={}, inputs={})
    return Job(name, "pretrained", "full", 0, TASKS[name], (), (), Path(), made)
