"""pretrain: HuBERT's rounds on clips that are never scored, or on one fold's training clips."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.audio.flac import read_clip, write_flac
from pipeline.cli.preset import merged
from pipeline.corpora import manifest
from pipeline.encoders import encoder as encoders
from pipeline.encoders.layout import ENCODERS, frame_count
from pipeline.gmp import pretraining
from pipeline.gmp.continued import train_and_publish
from pipeline.gmp.recipe import MFCC, Rounds
from pipeline.ground import params
from pipeline.ground.errors import PipelineError
from pipeline.ground.files import read_csv, read_json, sha256
from pipeline.scoring import lists
from pipeline.splits import folds
from pipeline.splits.task import Example
from pipeline.splits.unscored import require_other_audio, require_unscored
from pipeline.units.codebooks import Units
from pipeline.units.fitting import Fitting
from stages import finetune, multitask, pretrain
from tests.speech import small_encoder, tone_clips

OVERLAY = """
corpora: [tones]
encoders: [tiny, fbank]
pretrain:
  start: tiny
  sample: 500
  iterations: 4
  frames: [mfcc, -1]
  units: [6, 8]
  epochs: [1, 2]
  training: {batch: 4, warmup: 1}
"""


CORPORA = {"tones": "demo", "more": "demo", "speech": "emodb-ambiguous"}


def overlay(text: str) -> None:
    path = Path("params.yaml")
    path.write_text(merged(path.read_text("utf-8"), text), "utf-8")
    params.read.cache_clear()


@pytest.fixture(autouse=True)
def defined(project: Path) -> None:
    """Corpora and a recipe in miniature."""
    path = Path("params.yaml")
    rows = [f"  {name}:\n    parser: {p}\n    language: mul\n" for name, p in CORPORA.items()]
    text = path.read_text("utf-8").replace("\ncorpus:\n", "\ncorpus:\n" + "".join(rows))
    path.write_text(text, "utf-8")
    overlay(OVERLAY)


@pytest.fixture
def found(project: Path) -> list[Example]:
    """Twenty clips of a scored corpus, of three roles, and the start."""
    small_encoder(ENCODERS / "tiny")
    made = tone_clips(20)
    manifest.write(manifest.CLIPS / "tones" / "manifest.csv", [e.clip for e in made])
    folds.write(folds.FOLDS, [{e.clip.clip: e.role for e in made}])
    return made


@pytest.fixture
def unlabelled(found: list[Example]) -> list[manifest.Clip]:
    """Eight clips of another corpus, which has no label."""
    overlay("pretrain: {encoders: [learned], corpora: [more]}")
    made = [replace(e.clip, emotion="") for e in tone_clips(8, corpus="more")]
    (manifest.CLIPS / "more").rename(manifest.UNLABELLED.with_name("moved"))
    manifest.UNLABELLED.mkdir()
    manifest.UNLABELLED.with_name("moved").rename(manifest.UNLABELLED / "more")
    manifest.write(manifest.UNLABELLED / "more" / "manifest.csv", made)
    return manifest.read(["more"], manifest.UNLABELLED)


def weights(name: str) -> bytes:
    return (ENCODERS / name / "model.safetensors").read_bytes()


def test_whole_corpora_make_an_encoder_like_any_other(unlabelled: list[manifest.Clip]) -> None:
    pretrain.main(name="learned")
    start, learned = (encoders.load(ENCODERS / name) for name in ("tiny", "learned"))
    assert learned.config.hidden_size == start.config.hidden_size
    moved = [
        name
        for name, values in learned.state_dict().items()
        if not np.array_equal(values, start.state_dict()[name])
    ]
    assert {name.split(".")[0] for name in moved} == {
        "masked_spec_embed", "feature_extractor", "feature_projection", "encoder",
    }  # fmt: skip
    # The learning curve is that of the last round, of two epochs.
    assert len(read_csv(ENCODERS / "learned" / "history.csv")) == 2
    assert not [one for one in Path(".scratch").glob("*/*") if one.parent.name != "locks"]


def test_each_round_s_units_are_of_the_frames_it_names(
    unlabelled: list[manifest.Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of cepstra first; then of the encoder that the round before left, not of the start."""
    seen: list[tuple[list[int], dict[str, Any], Path]] = []
    fitted = Fitting.codebooks
    books: list[Any] = []

    def keep(self: Any, *given: Any) -> Any:
        books.append(fitted(self, *given))
        return books[-1]

    def look(fit: Any, model: Any, clips: Any, target: Path, made: Any) -> None:
        path = sorted(Path(".scratch").glob("*/*-units.h5"))[-1]
        with Units(path) as units:
            seen.append((units.scales, {c: units.units(c) for c in units.clips}, target))
        trained(fit, model, clips, target, made)

    trained = train_and_publish
    monkeypatch.setattr(Fitting, "codebooks", keep)
    monkeypatch.setattr(pretraining, "train_and_publish", look)
    pretrain.main(name="learned")
    assert [scales for scales, _, _ in seen] == [[6], [8]]
    for clip in unlabelled:
        wave = read_clip(clip.file)
        frames = MFCC.frames(wave).astype(np.float16).astype(np.float32)
        assert len(frames) == frame_count(len(wave))
        truth = np.square(frames[:, None] - books[0][6]).sum(2).argmin(1)
        np.testing.assert_array_equal(seen[0][1][clip.clip], truth[None])
        assert seen[1][1][clip.clip].shape == (1, frame_count(len(wave)))


def interrupted(monkeypatch: pytest.MonkeyPatch, name: str, after: int) -> Callable[[], None]:
    """Stop at the call of ``name`` after so many; what is returned lets it go on."""
    work, calls = getattr(pretraining, name), iter(range(100))

    def stop(*given: Any) -> Any:
        if next(calls) == after:
            raise KeyboardInterrupt
        return work(*given)

    monkeypatch.setattr(pretraining, name, stop)
    return lambda: monkeypatch.setattr(pretraining, name, work)


@pytest.mark.parametrize(
    ("name", "after"),
    [("write_units", 0), ("train_and_publish", 0), ("write_units", 1), ("train_and_publish", 1)],
)
def test_what_an_interrupted_run_has_done_is_kept(
    unlabelled: list[manifest.Clip], monkeypatch: pytest.MonkeyPatch, name: str, after: int
) -> None:
    pretrain.main(name="learned")
    expected = weights("learned")
    go_on = interrupted(monkeypatch, name, after)
    with pytest.raises(KeyboardInterrupt):
        pretrain.main(name="learned")
    assert weights("learned") == expected  # the old one stays
    go_on()
    done: list[str] = []
    for part in ("write_units", "train_and_publish"):
        work = getattr(pretraining, part)

        def told(*given: Any, part: str = part, work: Any = work) -> Any:
            done.append(part)
            return work(*given)

        monkeypatch.setattr(pretraining, part, told)
    pretrain.main(name="learned")
    assert weights("learned") == expected
    order = ["write_units", "train_and_publish"] * 2
    assert done == order[2 * after + (name == "train_and_publish") :]


def test_a_fold_s_own_encoder_never_hears_dev_or_test(found: list[Example]) -> None:
    overlay("pretrain: {folds: [0]}")
    pretrain.main(fold=0)
    expected = weights("own/0")
    for example in found:
        if example.role != "train":
            wave = np.random.default_rng(5).normal(0, 0.1, 8000).astype(np.float32)
            write_flac(example.clip.file, wave)
    pretrain.main(fold=0)
    assert weights("own/0") == expected


def test_a_published_encoder_is_adapted_from_its_weights(unlabelled: list[manifest.Clip]) -> None:
    """With next to no learning rate, what comes out is what went in."""
    overlay("pretrain: {training: {learning_rate: 1e-12}}")
    pretrain.main(name="learned")
    start, learned = (encoders.load(ENCODERS / name) for name in ("tiny", "learned"))
    for name, values in start.state_dict().items():
        np.testing.assert_allclose(learned.state_dict()[name], values, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("{encoders: [x], corpora: [tones]}", "'tones', which corpora scores:"),
        ("{encoders: [x], corpora: [speech]}", "'speech', which corpora scores as 'emodb'"),
        ("{encoders: [x], corpora: [none]}", "'none', which corpus does not define"),
        ("{encoders: [tiny], corpora: [more]}", "'tiny', a name that is taken"),
        ("{encoders: [own], corpora: [more]}", "'own', a name that is taken"),
        ("{encoders: [x]}", "pretrain.corpora is empty"),
        ("{corpora: [more]}", "pretrain.encoders is empty"),
        ("{folds: [7]}", "pretrain.folds has 7, which folds does not define"),
        ("{folds: [0], start: large}", "pretrain.start has 'large', which encoders"),
        ("{folds: [0]}\npretrained: own", "folds has 1, which pretrain.folds does not define"),
        ("{folds: [0, 1]}\nfeatures: [own]", "features has 'own', of which each fold has another"),
    ],
)
def test_what_would_leak_or_mean_nothing_is_refused_by_name(
    project: Path, settings: str, told: str
) -> None:
    overlay("corpora: [tones, emodb]\nfolds: [0, 1]")
    overlay(f"pretrain: {settings}")
    with pytest.raises(PipelineError, match=r"params\.yaml: ") as refused:
        lists.check()
    assert told in str(refused.value)


@pytest.mark.parametrize("rounds", ["units: [6]", "epochs: [1, 2, 3]", "frames: []"])
def test_every_round_has_its_frames_units_and_epochs(project: Path, rounds: str) -> None:
    overlay(f"pretrain: {{{rounds}}}")
    with pytest.raises(PipelineError, match=r"params\.yaml: pretrain"):
        lists.check()


def test_both_ways_are_allowed_together(project: Path) -> None:
    overlay("pretrain: {encoders: [x], corpora: [more, ravdess], folds: [1, 0]}\npretrained: own")
    assert lists.check() == ["tones"]


def test_a_corpus_that_is_scored_is_refused_by_the_stage_too(
    unlabelled: list[manifest.Clip],
) -> None:
    overlay("corpora: [tones, more]")
    with pytest.raises(PipelineError, match=r"pretrain\.corpora has 'more', which corpora scores:"):
        pretrain.main(name="learned")
    with pytest.raises(PipelineError, match="nothing fitted sees a test speaker"):
        require_unscored(["more"])


@pytest.mark.parametrize("parser", ["emodb", "table", "audformat"])
def test_one_layout_is_one_corpus_unless_its_parser_reads_any(project: Path, parser: str) -> None:
    known = f"{{parser: {parser}}}"
    overlay(f"corpora: [ravdess]\ncorpus: {{ravdess: {known}, emodb: {known}}}")
    if parser == "emodb":
        with pytest.raises(PipelineError, match="'emodb', which corpora scores as 'ravdess'"):
            require_unscored(["emodb"])
    else:
        require_unscored(["emodb"])


def test_audio_that_is_scored_is_refused_whatever_its_corpus_is_called(
    found: list[Example],
) -> None:
    scored = [e.clip for e in found]
    copy = replace(scored[3], clip="other/x", corpus="other")
    with pytest.raises(PipelineError, match=f"other/x is the audio of {scored[3].clip}"):
        require_other_audio([copy], scored)
    require_other_audio([replace(copy, sha256="0" * 64)], scored)


def test_the_rate_rises_and_falls_on_straight_lines() -> None:
    settings = Rounds(
        batch=1, learning_rate=6.0, warmup=2, mask_probability=0.8, mask_length=10,
        freeze_conv=False, precision="fp32",
    ).of(6)  # fmt: skip
    assert [settings.rate(epoch) for epoch in range(1, 7)] == [2.0, 4.0, 6.0, 4.5, 3.0, 1.5]


def test_each_fold_starts_from_its_own_encoder(found: list[Example]) -> None:
    """Published unchanged by `multitask`, and named by the classifier as what it started from."""
    overlay(
        "pretrain: {folds: [0]}\npretrained: own\nmultitask: {epochs: 0}\n"
        "task: {emotion: {classes: [angry, sad], merge: {}}}\n"
        "finetune: {model: {layer: last}, training: {epochs: 1}}"
    )
    pretrain.main(fold=0)
    multitask.main(0)
    made = Path("artifacts/multitask/0/model.safetensors").read_bytes()
    assert made == weights("own/0") != weights("tiny")
    finetune.main("emotion", "pretrained", "full", 0)
    folder = Path("artifacts/classifiers/emotion/pretrained/full/0")
    told = read_json(folder / "classifier.json")
    assert told["encoder"] == "artifacts/encoders/own/0"
    assert told["encoder_sha256"] == sha256(ENCODERS / "own/0/model.safetensors")
    carried = read_json(folder / "provenance.json")
    assert carried["inputs"].keys() >= {"artifacts/encoders/own/0", "artifacts/folds.csv"}
    assert carried["params"]["pretrain.epochs"] == [1, 2]
