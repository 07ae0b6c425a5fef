"""What each part of the active graph needs: bytes that stay, bytes while it runs, seconds.

From the lists and settings of params.yaml, the speech of the corpora and the shapes of encoders;
nothing is read that a stage makes but manifests. Stages run one after another, as `dvc repro` does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from pipeline.gmp.recipe import Recipe
from pipeline.ground.params import PARAMS_FILE, load, read
from pipeline.methods.finetuning import Network
from pipeline.needs import networks, rates, shapes
from pipeline.needs.rates import STAGE_S, Kind
from pipeline.needs.shapes import Shape
from pipeline.scoring import active
from pipeline.splits import targets

FLAC_BYTES = 15_000.0  # a second: EmoDB 20,600, the demo 13,600, RAVDESS, which has pauses, 9,400
ROW_BYTES = 300.0  # of a clip in a manifest, or of an utterance in predictions
FLOAT, UNIT = 4, 2  # bytes of a weight, of a unit
STATES = 4  # checkpoints hold weights, two moments of Adam, and the best weights
EMBEDDINGS = "embeddings"
BYTES = {"float16": 2, "float32": 4}


@dataclass(frozen=True)
class Speech:
    """Seconds and clips, augmented copies included, and how many of the clips are no copies."""

    seconds: float
    clips: float
    copies: int = 1

    def part(self, share: float) -> "Speech":
        """A share of it."""
        return Speech(share * self.seconds, share * self.clips, self.copies)


@dataclass(frozen=True)
class Step:
    """One line of the estimate: ``kept`` and ``scratch`` are bytes, ``stages`` those of DVC."""

    name: str
    stages: int
    kept: float
    scratch: float = 0.0
    seconds: float = 0.0

    @property
    def total_s(self) -> float:
        """With what starting its stages takes."""
        return self.seconds + STAGE_S * self.stages


def steps(speech: Speech, unlabelled: Speech, kind: Kind) -> list[Step]:
    """Every part that is active, in the order of the data."""
    params = read(PARAMS_FILE.absolute())
    made = [
        _prepared(params, speech, unlabelled, kind),
        _encoders(params),
        _pretraining(unlabelled, speech.part(_trained(params)), kind),
        *_embedded(params, speech, kind),
        *_adapted(params, speech.part(_trained(params)), kind),
        *_classifiers(params, speech, kind),
        *_on_frames(params, speech, kind),
    ]
    return [step for step in made if step.stages]


def _prepared(params: Any, speech: Speech, unlabelled: Speech, kind: Kind) -> Step:
    both = Speech(speech.seconds + unlabelled.seconds, speech.clips + unlabelled.clips)
    once = both.seconds / speech.copies
    slow = rates.seconds("decode", once, kind)
    slow += rates.seconds("augment", both.seconds - once, kind)
    count = len(params["corpora"]) + len(params["pretrain"]["corpora"])
    kept = both.seconds * FLAC_BYTES + both.clips * ROW_BYTES
    return Step("clips", count, kept, 0.0, slow / rates.processes())


def _encoders(params: Any) -> Step:
    names = params["encoders"]
    kept = FLOAT * sum(shapes.of(name).parameters for name in names)
    return Step("encoders", len(names), kept)


def _pretraining(unlabelled: Speech, train: Speech, kind: Kind) -> Step:
    recipe = load("pretrain", Recipe)
    if not (recipe.encoders or recipe.folds):
        return Step("pretrain", 0, 0.0)
    shape, count = shapes.of(recipe.start), len(recipe.encoders) + len(recipe.folds)
    heard = len(recipe.encoders) * unlabelled.seconds + len(recipe.folds) * train.seconds
    longest = max(unlabelled.seconds if recipe.encoders else 0, train.seconds)
    frames = shape.frames(longest, 1) * shape.width * BYTES["float16"]
    slow = sum(recipe.epochs) * heard * _train_flops(shape, "full", recipe.training.freeze_conv)
    kept = count * FLOAT * shape.parameters
    scratch = frames + STATES * FLOAT * shape.parameters
    return Step("pretrain", count, kept, scratch, rates.seconds("train", slow, kind))


def _embedded(params: Any, speech: Speech, kind: Kind) -> Iterator[Step]:
    told, count = params["extract"], len(params["corpora"])
    frames, means, size = told["frames"], told["means"], BYTES[told["dtype"]]
    for name in params["features"]:
        shape = shapes.of(name)
        kept = shape.frames(speech.seconds, int(speech.clips)) * size * shape.layers(frames)
        kept = shape.width * (kept + speech.clips * FLOAT * shape.layers(means))
        slow = _encoding_s(shape, speech, told["precision"], kind)
        slow += rates.seconds("store", 2 * kept, kind)
        # Finished clips lie in the scratch store until `ser cache gc`.
        layers = f"{shape.layers(frames)} x frames, {shape.layers(means)} x means"
        yield Step(f"{EMBEDDINGS} {name}, {layers}", count, kept, kept, slow)


def _encoding_s(shape: Shape, speech: Speech, precision: str, kind: Kind) -> float:
    if not shape.blocks:
        return rates.seconds("front end", speech.seconds, kind) / rates.processes()
    rate = "encode-fp32" if precision == "fp32" else "encode"
    slow = rates.seconds(rate, shape.flops * speech.seconds, kind)
    return slow / (rates.processes() if kind == "cpu" else 1)


def _adapted(params: Any, train: Speech, kind: Kind) -> Iterator[Step]:
    """GMP-ATL: what is made of each fold's train and dev clips."""
    count = len(params["adapted"])
    if not count:
        return
    shape = shapes.of(params["pretrained"])
    yield _continued("multitask", params, shape, train.seconds, kind)
    frames = shape.frames(train.seconds, int(train.clips))
    kept = count * frames * shape.width * BYTES[params["frames"]["dtype"]]
    slow = count * _encoding_s(shape, train, params["frames"]["precision"], kind)
    yield Step("frames", count, kept, 0.0, slow)
    scales, sample = params["cluster"]["scales"], min(params["cluster"]["sample"], frames)
    fitted = sample * shape.width * sum(scales) * params["cluster"]["iterations"] / 20
    slow = rates.seconds("k-means", fitted, kind)
    slow += rates.seconds("encode-fp32", 2 * frames * shape.width * sum(scales), kind)
    kept = count * (frames * len(scales) * UNIT + sum(scales) * shape.width * FLOAT)
    yield Step("units", count, kept, 0.0, count * slow)
    yield _continued("retrain", params, shape, train.seconds, kind)


def _continued(name: str, params: Any, shape: Shape, train_s: float, kind: Kind) -> Step:
    """`multitask` or `retrain`: the encoder of each fold, trained on."""
    told, weights, count = params[name], FLOAT * shape.parameters, len(params["adapted"])
    work = told["epochs"] * train_s * _train_flops(shape, "full", told["freeze_conv"])
    slow = count * rates.seconds("train", work, kind)
    return Step(name, count, count * weights, STATES * weights, slow)


def _train_flops(shape: Shape, method: str, freeze_conv: bool) -> float:
    """Operations of a training step on a second of audio: the backward pass counts twice.

    Adapters need the gradients of what lies between them, but none of the weights.
    """
    front = shape.front_flops * (1 if freeze_conv or method != "full" else 3)
    return front + shape.block_flops * (3 if method == "full" else 2)


def _classifiers(params: Any, speech: Speech, kind: Kind) -> Iterator[Step]:
    told, train = params["finetune"], speech.part(_trained(params))
    for (task, start, method), folds in active.classifiers(params).items():
        outputs, count = len(targets.of(task).names), len(folds)
        predicted = count * speech.clips * (ROW_BYTES + 10 * outputs) / len(folds)
        cached = start not in ("pretrained", "retrained")
        shape = shapes.of(start if cached else params["pretrained"])
        name = f"{task} {start} {method}"
        if method == "crnn":
            size = networks.crnn(params["crnn"]["model"], shape, outputs)
            kept, work = size.parameters, params["crnn"]["training"]["epochs"] * size.train_flops
            slow = rates.seconds("network", work * train.seconds, kind)
        elif method in get_args(Network):
            told_of = params["networks"]
            size = networks.regressors(told_of, method, shape, outputs)
            kept, work = size.parameters, told_of["training"]["epochs"] * size.train_flops
            slow = rates.seconds("network", work * train.seconds, kind)
        elif method == "linear":
            wide = shape.width * (2 if told["methods"]["linear"]["pooling"] == "mean-std" else 1)
            kept = wide * (outputs + 2)
            work = train.clips * wide * outputs * (1 + len(told["methods"]["linear"]["c"]))
            slow = rates.seconds("linear", work, kind)
        elif cached:
            settings = told["methods"][method]
            kept = networks.head(settings.get("model", settings), shape, outputs).parameters
            epochs = settings["training"]["epochs"]
            slow = rates.seconds("head", epochs * train.seconds, kind)
        else:
            kept = networks.head(told["model"], shape, outputs).parameters
            kept += shape.parameters if method == "full" else _adapters(told, shape)
            work = told["training"]["epochs"] * train.seconds
            work *= _train_flops(shape, method, told["training"]["freeze_conv"])
            slow = rates.seconds("train", work, kind)
        scratch = STATES * FLOAT * kept if method != "linear" else 0.0
        yield Step(name, count, count * FLOAT * kept + predicted, scratch, count * slow)


def _adapters(told: Any, shape: Shape) -> float:
    rank = told["methods"]["lora-qkv"]["rank"]
    return networks.adapters(rank, [shape.width] * 3 * shape.blocks).parameters


def _on_frames(params: Any, speech: Speech, kind: Kind) -> Iterator[Step]:
    """Corpora against corpora, probes, and the scores of all."""
    train = speech.part(_trained(params))
    pairs = len(params["corpora"]) * (len(params["corpora"]) - 1 + params["cross"]["folds"])
    for features, method in active.crossed(params):
        wide = 2 * shapes.of(features).width
        slow = pairs * rates.seconds("linear", 4 * speech.clips * wide * 8, kind)
        yield Step(f"cross {features} {method}", 1, pairs * speech.clips * ROW_BYTES, 0.0, slow)
    for task, features in active.probes(params):
        shape = shapes.of(features)
        work = train.clips * shape.width * shape.layers("all") * len(targets.of(task).names)
        work *= len(params["folds"]) * len(params["probe"]["c"])
        yield Step(f"probe {task} {features}", 1, 1e5, 0.0, rates.seconds("linear", work, kind))
    yield from _stressed(params, speech, kind)
    yield Step("evaluate", 1, 5e6)


def _stressed(params: Any, speech: Speech, kind: Kind) -> Iterator[Step]:
    """Every test clip of a classifier's folds under each condition, and as it is."""
    heard = 1 + len(params["stress"]["conditions"])
    for (task, start, method), folds in active.stressed(params).items():
        shape = shapes.of(start if start in params["features"] else params["pretrained"])
        part = (1 - _trained(params) or 1.0) * len(folds) / speech.copies
        tested = speech.part(heard * part)
        slow = rates.seconds("augment", tested.seconds, kind)
        slow += _encoding_s(shape, tested, params["extract"]["precision"], kind)
        yield Step(f"stress {task} {start} {method}", 1, tested.clips * ROW_BYTES, 0.0, slow)


def _trained(params: Any) -> float:
    """The share of the clips that a fold does not test."""
    count = params["split"]["count"]
    return 1 - 1 / count if isinstance(count, int) and count > 1 else 1.0
