"""Who trains and who is tested across corpora."""

import dataclasses
from collections import Counter

import pytest

from pipeline.corpora.manifest import Clip
from pipeline.ground.errors import PipelineError
from pipeline.splits.pairs import Classes, Pair, pairs
from pipeline.splits.targets import Emotion
from tests.recordings import clip

TASK = Emotion(
    target="emotion", classes=["angry", "sad", "happy", "boredom"], merge={"excited": "happy"}
)
EMOTIONS = {
    "a": ("angry", "sad", "happy", "boredom"),
    "b": ("angry", "sad", "excited", "calm"),
    "c": ("angry", "sad", "boredom"),
}


def corpus(name: str, speakers: int = 4) -> list[Clip]:
    """Each speaker says each of the corpus' emotions twice."""
    return [
        clip(
            f"s{speaker}-{emotion}-{take}",
            corpus=name,
            speaker=f"{name}/{speaker}",
            emotion=emotion,
            sha256=f"{name}{speaker}{emotion}{take}",
        )
        for speaker in range(speakers)
        for emotion in EMOTIONS[name]
        for take in range(2)
    ]


def made(held: dict[str, list[Clip]], classes: Classes = "common") -> dict[tuple[str, str], Pair]:
    found = pairs(TASK, held, classes, count=3, seed=0)
    return {(pair.train, pair.test): pair for pair in found}


@pytest.mark.parametrize("classes", ["common", "pair"])
def test_no_role_but_test_has_a_clip_of_the_corpus_that_is_tested(classes: Classes) -> None:
    held = {name: corpus(name) for name in EMOTIONS}
    known = {one.clip: one for own in held.values() for one in own}
    found = made(held, classes)
    assert list(found) == [(x, y) for x in "abc" for y in "abc"]
    for (train, test), pair in found.items():
        if train == test:
            continue
        (fold,) = pair.folds
        roles = {(known[name].corpus, role) for name, role in fold.items()}
        assert roles == {(train, "train"), (train, "dev"), (test, "test")}
        own = [c.clip for c in held[test] if pair.task.index(c.emotion) is not None]
        assert [name for name, role in fold.items() if role == "test"] == own
        dev = {known[name].speaker for name, role in fold.items() if role == "dev"}
        learnt = {known[name].speaker for name, role in fold.items() if role == "train"}
        assert len(dev) == 1
        assert not dev & learnt


def test_classes_are_those_of_all_corpora_or_of_the_pair() -> None:
    held = {name: corpus(name) for name in EMOTIONS}
    assert {tuple(p.task.classes) for p in made(held).values()} == {("angry", "sad")}
    of = {names: pair.task.classes for names, pair in made(held, "pair").items()}
    assert of["a", "b"] == of["b", "a"] == of["b", "b"] == ["angry", "sad", "happy"]
    assert of["a", "c"] == of["c", "c"] == ["angry", "sad", "boredom"]
    assert of["a", "a"] == TASK.classes
    assert of["b", "c"] == ["angry", "sad"]


def test_a_corpus_is_tested_against_itself_by_its_own_speakers() -> None:
    own = corpus("a", speakers=5)
    speaker = {one.clip: one.speaker for one in own}
    folds = made({"a": own})["a", "a"].folds
    assert len(folds) == 3
    tested = Counter(name for fold in folds for name, role in fold.items() if role == "test")
    assert tested == Counter(one.clip for one in own)
    for fold in folds:
        roles = {role: {speaker[n] for n, r in fold.items() if r == role} for role in fold.values()}
        assert set(roles) == {"train", "dev", "test"}
        assert sum(map(len, roles.values())) == 5


def test_without_known_speakers_there_is_no_score_of_a_corpus_against_itself() -> None:
    nameless = [dataclasses.replace(one, speaker="") for one in corpus("a")]
    alone = corpus("c", speakers=1)
    found = made({"a": nameless, "c": alone}, "pair")
    assert [found["a", "a"].folds, found["c", "c"].folds] == [[], []]
    for names, sizes in {("a", "c"): (21, 3, 6), ("c", "a"): (5, 1, 24)}.items():
        (fold,) = found[names].folds
        counts = Counter(fold.values())
        assert (counts["train"], counts["dev"], counts["test"]) == sizes


def test_copies_of_training_clips_train_and_are_never_tested() -> None:
    own = corpus("a")
    copies = [
        dataclasses.replace(
            one, clip=f"{one.clip}~loud", augmented_from=one.clip, sha256="~" + one.sha256
        )
        for one in own
    ]
    found = made({"a": [*own, *copies], "b": corpus("b")})
    (fold,) = found["a", "b"].folds
    trained = {name for name, role in fold.items() if role == "train"}
    assert {f"{name}~loud" for name in trained if "~" not in name} == {
        n for n in trained if "~" in n
    }
    (back,) = found["b", "a"].folds
    assert not [name for name in back if "~" in name]


def test_the_same_audio_in_two_corpora_is_refused() -> None:
    copied = [
        dataclasses.replace(one, sha256=one.sha256.replace("b", "a", 1)) for one in corpus("b")
    ]
    with pytest.raises(PipelineError, match="share their audio but are"):
        made({"a": corpus("a"), "b": copied})


def test_corpora_with_one_class_in_common_are_refused() -> None:
    few = [one for one in corpus("b") if one.emotion in ("angry", "calm")]
    with pytest.raises(PipelineError, match=r"a, b have 1 of task\.classes in common"):
        made({"a": corpus("a"), "b": few})
