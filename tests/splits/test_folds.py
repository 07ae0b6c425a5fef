"""The file of folds: round trip, one-line errors, and leaks that are planted and found."""

from pathlib import Path

import pytest

from pipeline.ground.errors import PipelineError
from pipeline.splits import folds
from tests.recordings import clip


def test_folds_round_trip_sorted(tmp_path: Path) -> None:
    made = [{"b": "test", "a": "train"}, {"a": "dev", 'c,"\n': "train"}]
    folds.write(tmp_path / "folds.csv", made)
    assert folds.read_all(tmp_path / "folds.csv") == made
    assert folds.read(1, tmp_path / "folds.csv") == made[1]
    text = (tmp_path / "folds.csv").read_text()
    assert text.startswith("fold,clip,role\n0,a,train\n0,b,test\n")


@pytest.mark.parametrize("index", [2, 7, -1])
def test_an_index_beyond_names_the_keys(tmp_path: Path, index: int) -> None:
    folds.write(tmp_path / "folds.csv", [{"a": "train"}, {"a": "test"}])
    with pytest.raises(PipelineError, match=r"folds names fold .* split made 2 .* split.count"):
        folds.read(index, tmp_path / "folds.csv")


@pytest.mark.parametrize("text", ["", "fold,clip,role\n", "fold,clip,role\n0,a,tset\n", "x\n0,a\n"])
def test_a_damaged_file_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "folds.csv").write_text(text)
    with pytest.raises(PipelineError, match="dvc repro split"):
        folds.read(0, tmp_path / "folds.csv")
    with pytest.raises(PipelineError, match=r"none.csv: no such file, run `dvc repro`"):
        folds.read(0, tmp_path / "none.csv")


CLIPS = [
    clip("a", speaker="toy/1", sha256="A"),
    clip("b", speaker="toy/2", sha256="B"),
    clip("c", speaker="toy/1", sha256="C"),
    clip("a~pitch", speaker="toy/1", sha256="D", augmented_from="toy/a"),
    clip("x", corpus="other", speaker="", sha256="B"),
    clip("y", corpus="other", speaker="", sha256="Y"),
]


def check(shared: bool, **roles: str) -> None:
    names = {"a": "toy/a", "b": "toy/b", "c": "toy/c", "child": "toy/a~pitch"}
    names |= {"x": "other/x", "y": "other/y"}
    folds.require_no_leakage([{names[k]: role for k, role in roles.items()}], CLIPS, shared)


def test_speakers_may_be_shared_in_the_corpora_that_are_named_alone() -> None:
    made = [{"toy/a": "train", "toy/c": "test"}]
    folds.require_no_leakage(made, CLIPS, False, ["toy"])
    with pytest.raises(PipelineError, match="share their speaker"):
        folds.require_no_leakage(made, CLIPS, False, ["other"])


def test_clean_folds_pass() -> None:
    check(False, a="train", c="train", b="test", child="train")
    check(False, b="test", x="test", y="train")
    check(True, a="train", c="test")


@pytest.mark.parametrize(
    ("roles", "told"),
    [
        ({"a": "train", "c": "test"}, r"toy/a \(a.wav\) and toy/c \(c.wav\) share their speaker"),
        ({"a": "train", "c": "dev"}, "share their speaker but are train and dev"),
        ({"b": "train", "x": "test"}, "share their audio"),
        ({"b": "dev", "x": "train"}, "share their audio"),
        ({"a": "test", "child": "test"}, "share their audio"),
        ({"a": "test", "child": "train"}, "share their audio"),
    ],
)
def test_planted_leaks_are_found(roles: dict[str, str], told: str) -> None:
    with pytest.raises(PipelineError, match=told):
        check(False, **roles)


def test_audio_leaks_count_even_where_speakers_are_shared() -> None:
    with pytest.raises(PipelineError, match="share their audio"):
        check(True, b="train", x="test")


def test_audio_that_several_corpora_hold_is_found() -> None:
    found = folds.audio_in_several_corpora(
        [
            clip("b", corpus="two", sha256="A"),
            clip("a", sha256="A"),
            clip("c", sha256="C"),
            clip("d", sha256="C"),  # twice in one corpus: the audit's business
            clip("e", corpus="two", sha256="E"),
        ]
    )
    assert found == [["toy/a", "two/b"]]
