"""What a task leaves out is told; classes that nothing fills stop before anything is computed."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.ground.errors import PipelineError
from pipeline.splits import scope
from pipeline.splits.targets import Emotion
from pipeline.splits.task import examples
from tests.splits.test_partition import corpus

# Two corpora with other words for the same emotions.
HELD = {
    ("a", "angry"): 8, ("a", "happy"): 8, ("a", "sad"): 8,
    ("b", "anger"): 6, ("b", "happiness"): 6, ("b", "sad"): 6, ("b", "gioia, rabbia"): 2,
}  # fmt: skip


def task(classes: Sequence[str] = ("angry", "happy", "sad"), **merge: str) -> Emotion:
    return Emotion(target="emotion", classes=list(classes), merge=merge)


def test_what_no_class_covers_is_counted_by_label_and_corpus_with_the_nearest_class() -> None:
    assert scope.left_out(task(), HELD) == {
        "anger": {"b": 6}, "gioia, rabbia": {"b": 2}, "happiness": {"b": 6}
    }  # fmt: skip
    told = scope.lines("task.x", task(), HELD)
    assert told == [
        "'anger' takes no part: 6 b utterances, nearest class 'angry' "
        "(task.x.classes, task.x.merge)",
        "'gioia, rabbia' takes no part: 2 b utterances, no class is near it "
        "(task.x.classes, task.x.merge)",
        "'happiness' takes no part: 6 b utterances, nearest class 'happy' "
        "(task.x.classes, task.x.merge)",
    ]
    whole = {"anger": "angry", "happiness": "happy", "Gioia, Rabbia": "sad"}
    assert scope.lines("task.x", task(**whole), HELD) == []


@pytest.mark.parametrize(
    ("label", "near"),
    [("Wut", "class 'angry'"), ("joy", "class 'happy'"), ("tristesse", "class 'sad'"),
     ("sadly", "class 'sad'"), ("fear", "no class")],
)  # fmt: skip
def test_the_nearest_class_is_one_of_the_same_meaning_before_one_that_looks_alike(
    label: str, near: str
) -> None:
    (told,) = scope.lines("task.x", task(), {("a", label): 1})
    assert near in told


def test_an_empty_class_names_the_label_that_means_it() -> None:
    with pytest.raises(PipelineError, match=r"class 'fear' \(nearest label 'Angst'\)"):
        scope.require_filled("task.x", task(["angry", "fear"]), {**HELD, ("b", "Angst"): 3})
    # Another word for what was left out is no misspelling of it.
    scope.require_filled("task.x", task(["angry", "sad"], joy="angry"), HELD)


@pytest.mark.parametrize("label", ["Angry", "ANGRY", " angry", "añgry"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_case_and_forms_of_unicode_make_no_other_label(label: str, form: Any) -> None:
    name = unicodedata.normalize(form, label)
    key = "añgry" if "ñ" in label else "angry"
    assert task([key, "sad"]).index(name) == 0
    assert task(["sad", "rage"], **{name: "Rage"}).index(key) == 1
    assert scope.lines("task.x", task([key, "sad"]), {("a", name): 3, ("a", "sad"): 1}) == []


def test_every_class_and_merge_that_nothing_fills_is_named_at_once() -> None:
    with pytest.raises(PipelineError) as caught:
        scope.require_filled("task.x", task(["angry", "hapy", "sad", "zzz"], angr="sad"), HELD)
    said = str(caught.value)
    assert said.startswith("params.yaml: task.x does not fit the corpora: ")
    for part in (
        "class 'hapy' (nearest label 'happy')",
        "'zzz';",
        "'angr' (nearest label 'anger')",
    ):
        assert part in said, said
    scope.require_filled("task.x", task(), HELD)


def test_a_merge_for_another_corpus_is_told_and_is_no_error() -> None:
    fitting = {("a", "angry"): 1, ("a", "happy"): 1, ("a", "sad"): 1}
    scope.require_filled("task.x", task(excited="happy"), fitting)
    assert scope.lines("task.x", task(excited="happy"), fitting) == [
        "task.x.merge has 'excited', which no active corpus holds"
    ]


@pytest.mark.parametrize(
    ("classes", "merge", "expected"),
    [
        (["happy", "Happy"], {}, "classes that differ"),
        (["happy", "sad"], {"Sad": "happy"}, "unlike 'Sad'"),
        (["happy", "sad"], {"joy": "happy", "JOY": "sad"}, "each emotion once"),
        (["happy", " "], {}, "none of them empty"),
        (["happy", "sad"], {"a": "hapy", "b": "saad", "sad": "sad"}, "not 'hapy', 'saad' and"),
    ],
)
def test_names_that_only_look_different_are_one(
    classes: list[str], merge: dict[str, str], expected: str
) -> None:
    with pytest.raises(ValidationError, match=expected):
        Emotion(target="emotion", classes=classes, merge=merge)


def test_training_says_which_clips_it_leaves_out(capsys: pytest.CaptureFixture[str]) -> None:
    clips = corpus(speakers=2, takes=1)
    roles = {c.clip: "train" for c in clips}
    assert len(examples(task(["angry", "sad"]), clips, roles)) == 4
    assert capsys.readouterr().err == "task: 2 of 6 clips take no part: 2 happy\n"


def test_a_class_that_a_fold_cannot_train_is_named_with_the_reason() -> None:
    clips = corpus(speakers=3, takes=1)
    roles = {c.clip: {"1": "test", "2": "dev", "3": "train"}[c.speaker[-1]] for c in clips}
    sad = {c.clip for c in clips if c.emotion == "sad"}
    happy = {c.clip for c in clips if c.emotion == "happy"}
    lost = roles | dict.fromkeys(sad, "dev") | dict.fromkeys(happy, "test")
    scope.require_trained("task.x", task(), clips, {0: roles})
    with pytest.raises(PipelineError) as caught:
        scope.require_trained("task.x", task(), clips, {0: roles, 3: lost})
    said = str(caught.value)
    assert "fold 3 trains no 'happy', all of it is tested (split.by, split.count)" in said
    assert "fold 3 trains no 'sad', split.dev took all of it" in said
    assert "fold 0" not in said
