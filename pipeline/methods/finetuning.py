"""What the stages `finetune` and `finetune_cached` share: the ``finetune`` section, and their job.

Light: the linear method depends on it, and on nothing that trains an encoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pipeline.corpora import manifest
from pipeline.corpora.manifest import Clip
from pipeline.encoders.layers import Layer
from pipeline.ground.errors import PipelineError
from pipeline.ground.params import Section, load
from pipeline.ground.provenance import Provenance
from pipeline.splits import folds, imbalance, targets
from pipeline.splits.targets import Emotion, Task
from pipeline.splits.task import Example, examples
from pipeline.splits.valued import Valued
from pipeline.training.settings import Optimization, Sampled, Training

Start = Literal["pretrained", "retrained"]
Trained = Literal["full", "lora-qkv"]
Cached = Literal["linear", "frozen", "lora-classifier"]
Crossed = Literal["linear", "frozen"]
Network = Literal["cnn-lstm", "cnn-lstm-attention"]
Count = Annotated[int, Field(ge=1, le=65_536)]
# In what a classifier says of itself: it may be a stranger's, and is shown on terminals.
Class = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Classes = Annotated[list[Class], Field(min_length=1, max_length=1000)]
Target = targets.Kind
# Of what a classifier's folder says of itself. 1 said nothing of tasks, and not its version; 2 knew
# no regressors of cached frames, which had a stage, a task and folders of their own (`share`).
SCHEMA = Literal[3]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class ModelParams(Section):
    """``model``: the head on the encoder; ``weighted`` learns a weight for each layer."""

    head: Literal["pool", "bilstm", "attentive", "mean-max"]
    layer: Layer | Literal["weighted"]
    projection: Count
    lstm_width: Count
    batch_norm: bool
    dropout: Fraction


class LossParams(Section):
    """``loss``."""

    name: Literal["ce", "am-softmax"]
    scale: Annotated[float, Field(gt=0, le=10_000)]
    margin: Annotated[float, Field(ge=0, le=2)]


class OwnLoss(Section):
    """The loss of a task that is not learnt by ``LossParams``; ``ccc`` is over a batch."""

    name: Literal["soft-ce", "ccc", "mse", "mae"]


class ClassWeights(Section):
    """What classes of unequal size weigh in training: `pipeline.splits.imbalance.weights`."""

    class_weight: imbalance.Weighting
    beta: imbalance.Beta


class Imbalance(ClassWeights):
    """The weights of classes and the focal loss's gamma; nothing that a trained model needs."""

    gamma: Annotated[float, Field(ge=0, le=100)]


class TrainingLoss(LossParams, Imbalance):
    """``loss``, as params.yaml has it."""


class EncoderTraining(Training, Sampled):
    """``training`` of what adapts an encoder."""


class HeadTraining(Optimization, Sampled):
    """``training`` of a head alone."""


class LoraParams(Section):
    """Low-rank adapters (Hu et al., 2021): ``finetune.methods.lora-qkv``."""

    rank: Annotated[int, Field(ge=1, le=4096)]
    alpha: Annotated[float, Field(gt=0, le=65_536)]
    dropout: Fraction


class FullParams(Section):
    """``finetune.methods.full``: everything trains, there is nothing to set."""


class FrozenParams(Section):
    """``finetune.methods.frozen``: a head from cached embeddings."""

    model: ModelParams
    loss: TrainingLoss
    training: HeadTraining


class LoraClassifierParams(Section):
    """``finetune.methods.lora-classifier``: adapters on transformers' own, untrained head."""

    layer: Layer
    projection: Count
    lora: LoraParams
    imbalance: Annotated[Imbalance, Field(alias="loss")]
    training: HeadTraining

    @property
    def model(self) -> ModelParams:
        """The head, as `FrozenParams` has it."""
        return ModelParams(
            head="pool",
            layer=self.layer,
            projection=self.projection,
            lstm_width=1,
            batch_norm=False,
            dropout=0.0,
        )

    @property
    def loss(self) -> TrainingLoss:
        """Cross-entropy: the classes of another loss are no linear layer."""
        return TrainingLoss(name="ce", scale=1.0, margin=0.0, **self.imbalance.model_dump())


class LinearParams(ClassWeights):
    """``finetune.methods.linear``."""

    kind: Literal["logistic", "svm"]
    layer: Layer
    pooling: Literal["mean", "mean-std"]
    c: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]


class Methods(Section):
    """``finetune.methods``: what each method alone needs."""

    full: FullParams
    lora_qkv: Annotated[LoraParams, Field(alias="lora-qkv")]
    frozen: FrozenParams
    lora_classifier: Annotated[LoraClassifierParams, Field(alias="lora-classifier")]
    linear: LinearParams


class FinetuneParams(Section):
    """The ``finetune`` section."""

    model: ModelParams
    loss: TrainingLoss
    training: EncoderTraining
    methods: Methods


def loss_of(task: Task, of_method: LossParams) -> LossParams | OwnLoss:
    """The task's own loss, where it has one, else that of the method."""
    return of_method if isinstance(task, Emotion) else OwnLoss(name=task.loss)


@dataclass(frozen=True)
class Job:
    """One classifier: what the command line names, all clips, the fold's examples, its folder.

    ``made`` is its provenance, taken before anything was read.
    """

    name: str
    start: str
    method: str
    fold: int
    task: Task
    clips: Sequence[Clip]
    found: Sequence[Example]
    target: Path
    made: Provenance

    @classmethod
    def prepare(
        cls,
        name: str,
        start: str,
        method: str,
        fold: int,
        keys: Sequence[str],
        inputs: Sequence[Path],
    ) -> "Job":
        """Read the task of this name, the clips of every active corpus and the fold's roles.

        ``keys`` and ``inputs`` are the parameters and artefacts of this method besides.
        """
        corpora = load("corpora", list[str])
        folder = manifest.ARTIFACTS / "classifiers" / name
        target = folder / start / method / str(fold)
        shared = ("seed", "numerics_version", "corpora", f"task.{name}")
        read = [*manifest.folders(corpora), folds.FOLDS, *inputs]
        made = Provenance.of(target, [*shared, *keys], read)
        task, clips = targets.of(name), manifest.read(corpora)
        found = examples(task, clips, folds.read(fold), f"task.{name}")
        return cls(name, start, method, fold, task, clips, found, target, made)

    def class_weights(self, params: ClassWeights) -> imbalance.Floats | None:
        """What each class weighs by its training clips, (classes,); None where all weigh 1.

        Votes and dimensions have none: each clip weighs the same.
        """
        if not isinstance(self.task, Emotion):
            return None
        labels = [example.label for example in self.found if example.role == "train"]
        return imbalance.weights(params.class_weight, labels, len(self.task.names), params.beta)

    def require_classes(self, key: str, loss: Imbalance, training: Sampled) -> None:
        """Stop where the section ``key`` asks for what this target has nothing of.

        Raises:
            PipelineError: Weights or balanced batches, but no emotion as target; a gamma, but no
                classes.
        """
        asked = {
            f"{key}.loss.class_weight none": loss.class_weight != "none",
            f"{key}.training.sampling shuffled": training.sampling != "shuffled",
            f"{key}.loss.gamma 0.0": loss.gamma > 0 and isinstance(self.task, Valued),
        }
        wrong = [remedy for remedy, is_asked in asked.items() if is_asked]
        if wrong and self.task.target != "emotion":
            raise PipelineError(
                f"params.yaml: task.{self.name} is of {self.task.target}, which are not balanced "
                f"by class: set {' and '.join(wrong)}, or take it out of tasks"
            )

    @property
    def scored(self) -> list[Example]:
        """The examples of dev and test."""
        return [example for example in self.found if example.role != "train"]
