"""The regressors learn, stop on their own, and come out the same after a kill."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from scipy.stats import spearmanr

from pipeline.audio.flac import read_clip
from pipeline.embeddings.frames import Frames, Scale
from pipeline.encoders.frontends import Fbank
from pipeline.ground import files
from pipeline.ground.errors import PipelineError
from pipeline.methods import adaptation
from pipeline.methods.networks import regression
from pipeline.methods.networks.regression import ScaledFrames
from pipeline.methods.networks.regressor import Design, Regressors
from pipeline.splits.task import Example, examples
from pipeline.splits.valued import UNDECIDED, Shares
from pipeline.training import loop, predictions
from pipeline.training.fit import Fit
from stages.networks import TrainingParams
from tests.ratings import EMOTIONS, WIDTH, cached, clip_of, rated_corpus

DESIGN = Design(
    head="cnn-lstm",
    classes=list(EMOTIONS),
    means=[0.0] * 3,
    deviations=[1.0] * 3,
    joint=False,
    loss="mse",
    width=WIDTH,
    conv=[8],
    lstm_width=8,
    feed_forward=[8],
    attention_scale="sqrt",
    output="sigmoid",
)
TRAINING = TrainingParams(
    regressors="separate",
    standardize=True,
    epochs=3,
    batch=16,
    learning_rate=1e-2,
    patience=0,
    precision="fp32",
)


def task_of(emotions: Sequence[str]) -> Shares:
    return Shares(target="shares", emotions=list(emotions), loss="mse")


@dataclass(frozen=True)
class Rated:
    """What takes part in a fold, and what it is rated for."""

    emotions: list[str]
    samples: list[Example]

    def of_role(self, *roles: str) -> list[Example]:
        return [sample for sample in self.samples if sample.role in roles]


class KilledError(Exception):
    """Stands for a SIGKILL at a point of our choice."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Frames, Rated]]:
    clips, roles, values = rated_corpus(150)
    with cached(tmp_path_factory.mktemp("frames") / "demo.h5", values) as frames:
        yield frames, Rated(list(EMOTIONS), examples(task_of(EMOTIONS), clips, roles))


@dataclass
class Trial:
    """Regressors in training, as the stage trains them."""

    fit: Fit
    design: Design
    scale: Scale
    model: Regressors
    rated: Rated

    def run(self) -> list[dict[str, float]]:
        return loop.train(
            self.fit, self.model, self.rated.of_role("train"), self.rated.of_role("dev")
        )

    def predict(self, *roles: str) -> np.ndarray:
        return adaptation.logits(self.fit, self.model, self.rated.of_role(*roles))

    def saved(self, out: Path) -> dict[str, bytes]:
        history = self.run()
        out.mkdir()
        regression.save(self.model, self.scale, out)
        (out / "history.json").write_text(json.dumps(history))
        scored = self.rated.of_role("dev", "test")
        predictions.write(out, task_of(self.rated.emotions), scored, self.predict("dev", "test"))
        return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def trial(corpus: tuple[Frames, Rated], folder: Path, **changes: Any) -> Trial:
    frames, rated = corpus
    design = DESIGN.model_copy(
        update={k: changes.pop(k) for k in {*changes} & {*Design.model_fields}}
    )
    settings, count = TRAINING.model_copy(update=changes), len(rated.emotions)
    told = {"classes": rated.emotions, "joint": settings.regressors == "joint"}
    told |= {"means": [0.0] * count, "deviations": [1.0] * count}
    design = design.model_copy(update=told)
    scale = Scale.of(frames, rated.of_role("train"), settings.standardize)
    folder.mkdir(exist_ok=True)
    fit = Fit(settings, 3, torch.device("cpu"), 1000.0, folder, ScaledFrames(frames, scale))
    model = regression.untrained(design, rated.of_role("train"), 3)
    return Trial(fit, design, scale, model, rated)


@pytest.mark.parametrize(
    ("head", "regressors"), [("cnn-lstm", "joint"), ("cnn-lstm-attention", "separate")]
)
def test_an_easy_target_is_recovered_on_unseen_clips(
    corpus: tuple[Frames, Rated], tmp_path: Path, head: str, regressors: str
) -> None:
    ours = trial(corpus, tmp_path, head=head, regressors=regressors, epochs=20, batch=8)
    ours.run()
    test = ours.rated.of_role("test")
    predicted, true = ours.predict("test"), np.array([s.values for s in test])
    assert all(spearmanr(true[:, i], predicted[:, i]).statistic > 0.8 for i in range(3))
    mean = np.mean([s.values for s in ours.rated.of_role("train")], 0)
    assert (((predicted - true) ** 2).mean(0) < 0.3 * ((mean - true) ** 2).mean(0)).all()


@pytest.fixture(scope="module")
def acted(
    corpora_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Frames, Rated]]:
    """RAVDESS with shares made from its labels and intensities: actors, not listeners."""
    bank = Fbank(kind="fbank", bands=40, window_ms=25.0, hop_ms=20.0, high_hz=8000.0)
    roles = {**dict.fromkeys(range(1, 13), "train"), 13: "dev", 14: "dev"}
    roles |= dict.fromkeys(range(17, 23), "test")
    values, samples = {}, []
    for path in sorted(corpora_root.glob("ravdess/Actor_*/03-01-*-*-01-*-*.flac")):
        _, _, emotion, intensity, _, _, actor = map(int, path.stem.split("-"))
        if actor in roles:
            length_s = soundfile.info(path).duration
            clip = clip_of(path.stem[-2:], "ravdess")
            clip = replace(clip, clip=path.stem, duration_s=length_s)
            strength = 1.0 if intensity == 2 else 0.6
            acted = (strength * (emotion == 2), strength * (emotion == 5))
            samples.append(Example(clip, roles[actor], UNDECIDED, None, acted))
            values[path.stem] = bank.frames(read_clip(path))
    with cached(tmp_path_factory.mktemp("frames") / "ravdess.h5", values) as frames:
        yield frames, Rated(["acted_calm", "acted_angry"], samples)


def test_real_speech_of_unseen_speakers_beats_the_mean(
    acted: tuple[Frames, Rated], tmp_path: Path
) -> None:
    changes = {"head": "cnn-lstm-attention", "width": 40, "conv": [32, 16], "lstm_width": 16}
    ours = trial(acted, tmp_path, regressors="joint", epochs=9, learning_rate=5e-3, **changes)
    train, test = ours.rated.of_role("train"), ours.rated.of_role("test")
    ours.run()
    predicted = ours.predict("test")
    true, mean = np.array([s.values for s in test]), np.mean([s.values for s in train], 0)
    assert ((predicted - true) ** 2).mean() < 0.95 * ((mean - true) ** 2).mean()
    assert min(spearmanr(true[:, i], predicted[:, i]).statistic for i in range(2)) > 0.2


def test_separate_regressors_are_the_ones_that_train_alone(
    corpus: tuple[Frames, Rated], tmp_path: Path
) -> None:
    """One batch for all changes nothing: each emotion by itself gives the same predictions."""
    frames, rated = corpus
    together = trial(corpus, tmp_path / "together")
    together.run()
    for column, emotion in enumerate(EMOTIONS):
        only = [replace(s, values=s.values[column : column + 1]) for s in rated.samples]
        alone = trial((frames, Rated([emotion], only)), tmp_path / emotion)
        alone.run()
        np.testing.assert_array_equal(
            alone.predict("test")[:, 0], together.predict("test")[:, column]
        )


def test_each_regressor_stops_on_its_own_dev_loss(
    corpus: tuple[Frames, Rated], tmp_path: Path
) -> None:
    """Anger's dev shares are turned around, so that what is learnt on train hurts on dev."""
    frames, rated = corpus
    turned = [
        replace(s, values=(1 - s.values[0], *s.values[1:])) if s.role == "dev" else s
        for s in rated.samples
    ]
    ours = trial((frames, replace(rated, samples=turned)), tmp_path, epochs=12, patience=2)
    history = ours.run()
    anger = [row["dev_loss_anger"] for row in history if "dev_loss_anger" in row]
    interest = [row["dev_loss_interest"] for row in history if "dev_loss_interest" in row]
    assert len(anger) == int(np.argmin(anger)) + 1 + 2 < len(interest)
    dev = ours.rated.of_role("dev")
    for emotion, losses in (("anger", anger), ("interest", interest)):
        column = EMOTIONS.index(emotion)
        errors = ours.predict("dev")[:, column] - [s.values[column] for s in dev]
        assert np.mean(errors**2) == pytest.approx(min(losses), rel=1e-4)


@pytest.mark.parametrize(
    ("regressors", "kill_at"), [("separate", 1), ("separate", 4), ("separate", 7), ("joint", 3)]
)
def test_a_killed_run_ends_in_the_same_bytes(
    corpus: tuple[Frames, Rated],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    regressors: str,
    kill_at: int,
) -> None:
    whole = trial(corpus, tmp_path / "a", regressors=regressors).saved(tmp_path / "whole")
    writes, replace_ = 0, files.replace

    def dying(staged: Path, target: Path) -> None:
        nonlocal writes
        writes += 1
        if writes == kill_at:
            raise KilledError
        replace_(staged, target)

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(files, "replace", dying)
        trial(corpus, tmp_path / "b", regressors=regressors).saved(tmp_path / "dead")
    resumed = trial(corpus, tmp_path / "b", regressors=regressors).saved(tmp_path / "resumed")
    assert resumed == whole
    assert sorted(whole) == [
        "history.json",
        "model.safetensors",
        "networks.json",
        "predictions.csv",
    ]


def test_a_saved_model_predicts_what_was_published(
    corpus: tuple[Frames, Rated], tmp_path: Path
) -> None:
    ours = trial(corpus, tmp_path / "scratch")
    ours.saved(tmp_path / "out")
    expected = ours.predict("test")
    ours.model, scale = regression.load(tmp_path / "out")
    ours.fit.source = ScaledFrames(corpus[0], scale)
    np.testing.assert_array_equal(ours.predict("test"), expected)


def test_without_dev_it_trains_for_every_epoch(
    corpus: tuple[Frames, Rated], tmp_path: Path
) -> None:
    frames, rated = corpus
    kept = Rated(rated.emotions, rated.of_role("train", "test"))
    history = trial((frames, kept), tmp_path, patience=1).run()
    assert len(history) == TRAINING.epochs
    assert "dev_loss_anger" not in history[0]


def test_an_unknown_share_weighs_nothing(corpus: tuple[Frames, Rated], tmp_path: Path) -> None:
    """Clips without anger's share change nothing for anger, beside the batches they are in."""
    frames, rated = corpus
    half = [
        replace(s, values=(np.nan, *s.values[1:])) if row % 2 else s
        for row, s in enumerate(rated.samples)
    ]
    ours = trial((frames, Rated(rated.emotions, half)), tmp_path, epochs=1, learning_rate=1e-30)
    (row,) = ours.run()
    known = [s.values[0] for s in half if s.role == "train" and not np.isnan(s.values[0])]
    errors = ours.predict("train")[:, 0] - [s.values[0] for s in ours.rated.of_role("train")]
    assert row["train_loss_anger"] == pytest.approx(np.nanmean(errors**2), rel=1e-4)
    assert len(known) < len(errors)


def test_the_scale_is_that_of_training_frames(corpus: tuple[Frames, Rated]) -> None:
    frames, rated = corpus
    train = rated.of_role("train")
    stacked = np.concatenate([frames.read(sample) for sample in train])
    scale = Scale.of(frames, train, measured=True)
    np.testing.assert_allclose(scale.mean, stacked.mean(0), rtol=1e-5)
    np.testing.assert_allclose(scale.deviation, stacked.std(0), rtol=1e-5)


def test_a_loss_that_is_not_finite_names_the_remedy(
    corpus: tuple[Frames, Rated], tmp_path: Path
) -> None:
    with pytest.raises(PipelineError, match="learning_rate"):
        trial(corpus, tmp_path, learning_rate=1e30, output="relu").run()


def test_a_clip_without_an_embedding_is_named(corpus: tuple[Frames, Rated]) -> None:
    frames, rated = corpus
    stranger = replace(rated.samples[0], clip=replace(rated.samples[0].clip, clip="demo/new"))
    with pytest.raises(PipelineError, match=r"demo/new.*extract"):
        frames.read(stranger)
