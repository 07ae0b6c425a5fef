"""Every way to split: whole groups, balance, coverage, determinism, and errors in one line."""

from collections import Counter
from itertools import permutations, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.corpora import registry
from pipeline.corpora.manifest import Clip
from pipeline.ground.errors import PipelineError
from pipeline.splits import folds, partition
from pipeline.splits.folds import Fold
from tests.recordings import clip

EMOTIONS = ("angry", "happy", "sad")


def corpus(name: str = "toy", speakers: int = 8, takes: int = 2) -> list[Clip]:
    """Speakers 1, 2, ... alternate in gender; two in a row make a session."""
    return [
        clip(
            f"{speaker}-{emotion}-{take}",
            corpus=name,
            speaker=f"{name}/{speaker}",
            session=str((speaker + 1) // 2),
            gender=("male", "female")[speaker % 2],
            emotion=emotion,
            sha256=f"{name}-{speaker}-{emotion}-{take}",
        )
        for speaker, emotion, take in product(range(1, speakers + 1), EMOTIONS, range(takes))
    ]


def real(root: Path, name: str) -> list[Clip]:
    return [
        clip(row.utterance, corpus=name, speaker=row.speaker, gender=row.gender,
             session=row.session, emotion=row.emotion)
        for row in registry.parse(name, root / name).rows
    ]  # fmt: skip


def values(clips: list[Clip], fold: Fold, role: str, column: str) -> set[str]:
    return {str(getattr(c, column)) for c in clips if fold[c.clip] == role}


@pytest.mark.parametrize(("by", "groups"), [("session", 4), ("speaker", 8)])
def test_one_group_a_fold_is_leave_one_out(by: str, groups: int) -> None:
    clips = corpus()
    made = partition.by_group(clips, by, None)
    tested = [values(clips, fold, "test", by) for fold in made]
    assert tested == [{value} for value in sorted({getattr(c, by) for c in clips})]
    assert len(made) == groups
    assert all(set(fold) == {c.clip for c in clips} for fold in made)


@pytest.mark.parametrize("number", range(4))
def test_dev_leaves_training_the_last_speaker_of_an_emotion(number: int) -> None:
    clips = [c for c in corpus(speakers=4) if c.emotion != "sad" or c.speaker == "toy/3"]
    trained = {c.clip: "test" if c.speaker == "toy/4" else "train" for c in clips}
    untouched = {c.clip: "train" for c in clips} | {"none": "dev"}
    made = partition.take_dev(clips, [untouched] * number + [trained], "speaker")[number]
    assert values(clips, made, "dev", "speaker") in ({"toy/1"}, {"toy/2"})
    assert values(clips, made, "train", "emotion") == set(EMOTIONS)


def test_a_dev_that_nobody_can_be_names_split_dev() -> None:
    clips = corpus(speakers=2)
    made = partition.by_group(clips, "speaker", 2)
    with pytest.raises(PipelineError, match=r"split\.dev is speaker, but fold 0 has no "):
        partition.take_dev(clips, made, "speaker")


@pytest.mark.parametrize("by", ["session", "speaker", "corpus"])
def test_one_group_alone_is_no_range(by: str) -> None:
    with pytest.raises(PipelineError, match=f"split.by is {by}, but the corpora have 1 {by}") as c:
        partition.by_group(corpus(speakers=1), by, 2)
    assert "2 to" not in str(c.value)


def test_leave_one_corpus_out() -> None:
    clips = corpus("one") + corpus("two", 2) + corpus("three", 4)
    made = partition.by_group(clips, "corpus", None)
    assert [values(clips, fold, "test", "corpus") for fold in made] == [{"one"}, {"three"}, {"two"}]


@given(speakers=st.integers(2, 14), count=st.integers(2, 14), by=st.sampled_from(["speaker"]))
def test_every_speaker_is_tested_once_and_never_trained_on(
    speakers: int, count: int, by: str
) -> None:
    clips = corpus(speakers=speakers, takes=1)
    if count > speakers:
        with pytest.raises(PipelineError, match=f"split.count must be 2 to {speakers}"):
            partition.by_group(clips, by, count)
        return
    made = partition.by_group(clips, by, count)
    folds.require_no_leakage(made, clips, shared=False)
    tested = Counter(name for fold in made for name, role in fold.items() if role == "test")
    assert tested == Counter(c.clip for c in clips)
    assert made == partition.by_group(clips[::-1], by, count)


@pytest.mark.parametrize(("name", "count"), [("ravdess", 4), ("ravdess", 6), ("emodb", 5)])
def test_folds_of_real_corpora_are_balanced(corpora_root: Path, name: str, count: int) -> None:
    clips = real(corpora_root, name)
    tests = [
        [c for c in clips if fold[c.clip] == "test"]
        for fold in partition.by_group(clips, "speaker", count)
    ]
    women = [len({c.speaker for c in test if c.gender == "female"}) for test in tests]
    men = [len({c.speaker for c in test if c.gender == "male"}) for test in tests]
    assert max(women) - min(women) <= 1 and max(men) - min(men) <= 1
    total = Counter(c.emotion for c in clips)
    for test in tests:
        held = Counter(c.emotion for c in test)
        for emotion, number in total.items():
            assert held[emotion] / len(test) == pytest.approx(number / len(clips), abs=0.07)


def test_pairs_of_emodb_speakers_are_as_even_as_any(corpora_root: Path) -> None:
    """Against every way to pair its five women with its five men."""
    clips = real(corpora_root, "emodb")
    counts = {
        s: Counter(c.emotion for c in clips if c.speaker == s) for s in {c.speaker for c in clips}
    }
    total = Counter(c.emotion for c in clips)

    def unevenness(pairs: list[tuple[str, ...]]) -> float:
        loads = [sum((counts[s] for s in pair), Counter[str]()) for pair in pairs]
        return sum((load[e] / total[e]) ** 2 for load in loads for e in total)

    women, men = (sorted({c.speaker for c in clips if c.gender == g}) for g in ("female", "male"))
    every = sorted(unevenness(list(zip(women, order, strict=True))) for order in permutations(men))
    made = partition.by_group(clips, "speaker", 5)
    ours = unevenness([tuple(values(clips, fold, "test", "speaker")) for fold in made])
    assert ours <= every[len(every) // 20]


def test_gender_is_balanced_whatever_order_speakers_come_in() -> None:
    clips = [c for c in corpus(speakers=16) if c.gender == "male"][:24]
    clips += [c for c in corpus(speakers=16) if c.gender == "female"][:24]
    for fold in partition.by_group(clips, "speaker", 4):
        tested = {(c.speaker, c.gender) for c in clips if fold[c.clip] == "test"}
        assert Counter(gender for _, gender in tested) == {"male": 1, "female": 1}


@pytest.mark.parametrize("by", ["speaker", "session"])
def test_dev_takes_whole_training_groups_and_another_each_fold(by: str) -> None:
    clips = corpus()
    made = partition.take_dev(clips, partition.by_group(clips, "session", 4), by)
    folds.require_no_leakage(made, clips, shared=False)
    stopping = [values(clips, fold, "dev", by) for fold in made]
    assert all(len(groups) == 1 for groups in stopping)
    assert len(set(map(frozenset, stopping))) > 1


def test_dev_is_one_speaker_of_each_corpus_with_the_most_emotions() -> None:
    poor = [clip("9", corpus="one", speaker="one/9", session="9", sha256="9")]
    clips = corpus("one", 4) + poor + corpus("two", 4) + corpus("three", 1)
    made = partition.by_group(clips, "corpus", None)
    for number, fold in enumerate(partition.take_dev(clips, made, "speaker")):
        speakers = values(clips, fold, "dev", "speaker")
        assert "one/9" not in speakers and "three/1" not in speakers
        assert Counter(s.split("/")[0] for s in speakers) == {
            name: 1 for name in ("one", "two") if name != ("one", "three", "two")[number]
        }


def test_dev_at_random_is_a_tenth_of_the_training_utterances() -> None:
    clips = [
        clip(f"{n}#{part}", utterance=f"toy/{n}", speaker="", sha256=f"{n % 38}-{part}")
        for n in range(40)
        for part in (1, 2)
    ]
    listed = {c.clip: "test" if c.utterance in ("toy/5", "toy/6") else "train" for c in clips}
    made = partition.take_dev_at_random(clips, [listed, listed], 1)
    assert made == partition.take_dev_at_random(clips, [listed, listed], 1)
    assert made[0] != made[1]
    folds.require_no_leakage(made, clips, shared=False)
    for fold in made:
        dev = {c.utterance for c in clips if fold[c.clip] == "dev"}
        # 36 units of 38 training utterances: 0 and 38, 1 and 39 are the same audio.
        assert 4 <= len(dev) <= 6
        assert {name for name, role in fold.items() if role == "test"} == {
            name for name, role in listed.items() if role == "test"
        }
    kept = [listed | {"toy/0#1": "dev"}]
    assert partition.take_dev_at_random(clips, kept, 1) == kept


def test_a_fold_that_has_dev_keeps_it() -> None:
    clips = corpus(speakers=3)
    fold = {c.clip: ("train", "dev", "test")[int(c.speaker[-1]) - 1] for c in clips}
    assert partition.take_dev(clips, [fold], "speaker") == [fold]


@pytest.mark.parametrize("by", ["speaker", "session"])
def test_an_unknown_group_is_an_error(by: str) -> None:
    clips = [*corpus(), clip("x", **{by: ""})]
    with pytest.raises(PipelineError, match=f"x.wav has no {by}"):
        partition.by_group(clips, by, 2)


def test_random_folds_keep_utterances_and_equal_audio_together() -> None:
    clips = corpus()
    clips += [clip(f"long#{n}", utterance="toy/long", sha256=f"long{n}") for n in range(3)]
    # The same audio as a part of the long one, and as a third utterance.
    clips += [clip("p", sha256="long1"), clip("q", sha256="long1")]
    for seed in range(20):
        made = partition.at_random(clips, 5, seed, dev=True)
        folds.require_no_leakage(made, clips, shared=True)
        tested = Counter(name for fold in made for name, role in fold.items() if role == "test")
        assert tested == Counter(c.clip for c in clips)
        for fold in made:
            assert len({fold[f"toy/{n}"] for n in ("long#0", "long#1", "long#2", "p", "q")}) == 1
            assert set(fold.values()) == {"train", "dev", "test"}
    assert partition.at_random(clips, 5, 1, dev=False) == partition.at_random(
        clips, 5, 1, dev=False
    )
    assert partition.at_random(clips, 5, 1, dev=False) != partition.at_random(
        clips, 5, 2, dev=False
    )


def test_augmented_children_follow_training_clips_only() -> None:
    clips = [
        clip("a"),
        clip("b"),
        clip("a~n", augmented_from="toy/a"),
        clip("b~n", augmented_from="toy/b"),
    ]
    fold = {"toy/a": "train", "toy/b": "test"}
    assert partition.add_augmented(clips, fold) == fold | {"toy/a~n": "train"}


def test_lists_name_clips_utterances_speakers_or_sessions(tmp_path: Path) -> None:
    clips = corpus(speakers=3, takes=1) + corpus("two", 3, 1)
    path = tmp_path / "folds.csv"
    path.write_text(
        "fold,role,corpus,speaker\n0,train,toy,toy/1\n0,test,toy,toy/2\n"
        "1,train,toy,toy/2\n1,dev,toy,toy/3\n1,test,two,two/1\n"
    )
    first, second = partition.listed(clips, [path])
    assert values([c for c in clips if c.clip in first], first, "test", "speaker") == {"toy/2"}
    assert {c.speaker for c in clips if c.clip in second} == {"toy/2", "toy/3", "two/1"}
    path.write_text("fold,role,session\n0,train,1\n0,test,2\n")
    assert len(partition.listed(clips, [path])[0]) == len(clips)


def test_lists_are_matched_as_people_write_them(tmp_path: Path) -> None:
    clips = [
        clip(name, speaker=f"toy/{name}", session="S1") for name in ("J\u00fcrgen", "Anna", "Ben")
    ]
    path = tmp_path / "folds.csv"
    path.write_text(
        "Fold; Role;Speaker\n0;Train;toy/Ju\u0308rgen\n0;train;toy/ANNA\n0;test;Toy/ben\n;;\n"
    )
    (fold,) = partition.listed(clips, [path])
    assert fold == {"toy/J\u00fcrgen": "train", "toy/Anna": "train", "toy/Ben": "test"}
    path.write_text("fold,role,session\n0,test,s1\n")
    assert len(partition.listed(clips, [path])[0]) == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fold,role,speaker\n", "numbered from 0, got none"),
        ("fold,role,speaker\n1,test,toy/1\n", "numbered from 0, got 1"),
        ("fold,role,speaker\n0,tset,toy/1\n", "line 2: expected role train, dev, test"),
        ("fold,role\n0,test\n", "line 2: expected role"),
        ("fold,role,speaker\n0,test,toy/9\n", "line 2: no clip has speaker 'toy/9'"),
        ("fold,role,speaker\nx,test,toy/1\n", "line 2: fold must be 0 to"),
        ("fold,role,speaker\n0.5,test,toy/1\n", "line 2: fold must be a whole number"),
        ("fold,role,speaker\n,test,toy/1\n", "line 2: fold must be a whole number"),
        ("fold,role,speaker_id\n0,test,toy/1\n", "line 1: column 'speaker_id' is not read"),
        ("fold,role,speaker\n0,test,toy/1\n0,train,toy/1\n", "line 3: .* another role above"),
        ("fold,speaker\n0,toy/1\n", "line 1: missing column 'role'"),
    ],
)
def test_a_malformed_list_names_its_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "folds.csv").write_text(text)
    with pytest.raises(PipelineError, match=told):
        partition.listed(corpus(), [tmp_path / "folds.csv"])
