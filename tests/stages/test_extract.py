"""extract and frames: the stage's two entries in the graph."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from pipeline.corpora import manifest
from pipeline.embeddings.reader import Embeddings
from pipeline.ground import params
from pipeline.ground.errors import PipelineError
from pipeline.inference import judge
from pipeline.splits import folds
from stages import finetune, finetune_cached, multitask, retrain
from stages.encoder import main as prepare_encoder
from stages.extract import main
from tests.speech import small_encoder, small_whisper, tone_clips


@pytest.fixture
def corpus(project: Path) -> list[manifest.Clip]:
    """The corpus ``demo`` of params.yaml, without workers."""
    text = Path("params.yaml").read_text("utf-8").replace("workers: 2", "workers: 0")
    Path("params.yaml").write_text(text, "utf-8")
    params.read.cache_clear()
    clips = [example.clip for example in tone_clips(10, corpus="demo")]
    manifest.write(manifest.CLIPS / "demo" / "manifest.csv", clips)
    return clips


def test_a_corpus_is_embedded(corpus: list[manifest.Clip]) -> None:
    prepare_encoder("fbank")
    main(encoder="fbank", corpus="demo")
    path = Path("artifacts/embeddings/fbank/demo.h5")
    with Embeddings(path, encoder="fbank", clips=corpus) as found:
        assert found.clips == [clip.clip for clip in corpus]
        assert found.layers == ("last",)
        assert found.means("last").shape == (10, 40)


def test_a_fold_is_embedded_without_its_test_clips(corpus: list[manifest.Clip]) -> None:
    small_encoder(Path("artifacts/multitask/0"), num_hidden_layers=3)
    roles = ("train", "dev", "test")
    fold = {clip.clip: roles[n % 3] for n, clip in enumerate(corpus[:-1])}
    folds.write(folds.FOLDS, [fold])
    main(fold=0)
    with Embeddings(Path("artifacts/frames/0.h5"), encoder="multitask/0") as found:
        assert found.clips == [clip for clip, role in fold.items() if role != "test"]
        assert found.layers == (-3,)
        assert found.frames(found.clips[0], -3).shape[1] == 16
    assert not list(Path(".scratch").glob("*/*.h5"))
    with pytest.raises(PipelineError, match="fold 1"):
        main(fold=1)


@pytest.fixture
def whisper(corpus: list[manifest.Clip]) -> Path:
    """An untrained Whisper, which training starts from, beside the corpus and one fold."""
    text = Path("params.yaml").read_text("utf-8").replace("pretrained: tiny", "pretrained: whisper")
    for name in ("calm", "disgust", "fear", "happy", "neutral", "surprise"):
        text = text.replace(f"    - {name}\n", "")
    Path("params.yaml").write_text(text, "utf-8")
    params.read.cache_clear()
    roles = ("train", "train", "dev", "dev", "test")
    folds.write(folds.FOLDS, [{clip.clip: roles[n // 2] for n, clip in enumerate(corpus)}])
    return small_whisper(Path("artifacts/encoders/whisper"))


@pytest.mark.parametrize("method", ["linear", "frozen"])
def test_whisper_gives_features(whisper: Path, corpus: list[manifest.Clip], method: str) -> None:
    main(encoder="whisper", corpus="demo")
    with Embeddings(Path("artifacts/embeddings/whisper/demo.h5"), encoder="whisper") as found:
        assert found.header.means == (-3, -2, -1, "last")
        assert found.header.hop_samples == 320
        for clip in corpus:
            frames = found.frames(clip.clip, "last")
            assert frames.shape == (math.ceil(round(clip.duration_s * 16000) / 320), 16)
    finetune_cached.main("emotion", "whisper", method, 0)  # type: ignore[arg-type]
    opinion = judge.load(Path(f"artifacts/classifiers/emotion/whisper/{method}/0"))
    assert opinion.classes == ["angry", "sad"]


def test_whisper_hears_no_longer_clip(whisper: Path, corpus: list[manifest.Clip]) -> None:
    long = [*corpus[:-1], dataclasses.replace(corpus[-1], duration_s=30.5)]
    manifest.write(manifest.CLIPS / "demo" / "manifest.csv", long)
    with pytest.raises(PipelineError, match=r"30\.5 s, but whisper hears 30, set preprocess\.max_"):
        main(encoder="whisper", corpus="demo")
    assert not Path("artifacts/embeddings").exists()


@pytest.mark.parametrize(
    "train",
    [
        lambda: multitask.main(0),
        lambda: retrain.main(0),
        lambda: finetune.main("emotion", "pretrained", "full", 0),
        lambda: finetune.main("emotion", "pretrained", "lora-qkv", 0),
    ],
)
@pytest.mark.parametrize("name", ["whisper", "fbank"])
def test_what_gives_features_alone_is_never_trained(
    whisper: Path, train: Callable[[], None], name: str
) -> None:
    prepare_encoder("fbank")
    text = Path("params.yaml").read_text("utf-8")
    text = text.replace("pretrained: whisper", f"pretrained: {name}")
    Path("params.yaml").write_text(text, "utf-8")
    params.read.cache_clear()
    with pytest.raises(PipelineError, match=f"{name}: expected an encoder .* set pretrained in"):
        train()


def test_a_missing_encoder_names_the_stage(corpus: list[manifest.Clip]) -> None:
    with pytest.raises(
        PipelineError, match=r"encoders/fbank/config\.json: no such file, run `dvc repro`"
    ):
        main(encoder="fbank", corpus="demo")


@pytest.mark.parametrize(
    ("encoder", "corpus_name", "fold"), [("", "", -1), ("a", "", -1), ("", "b", -1), ("a", "b", 0)]
)
def test_neither_or_both_is_a_usage_error(encoder: str, corpus_name: str, fold: int) -> None:
    with pytest.raises(typer.BadParameter, match="--encoder and --corpus, or --fold"):
        main(encoder, corpus_name, fold)
