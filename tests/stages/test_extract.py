"""extract and frames: the stage's two entries in the graph."""

from pathlib import Path

import pytest
import typer

from pipeline.corpora import manifest
from pipeline.embeddings.reader import Embeddings
from pipeline.ground import params
from pipeline.ground.errors import PipelineError
from pipeline.splits import folds
from stages.encoder import main as prepare_encoder
from stages.extract import main
from tests.speech import small_encoder, tone_clips


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
