"""What takes part in a task, and with what aim, for each target."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.ground import params
from pipeline.ground.errors import PipelineError
from pipeline.splits import scope, targets
from pipeline.splits.targets import Emotion, Votes
from pipeline.splits.task import examples, of_role, scale
from pipeline.splits.valued import UNDECIDED, Dimensions
from tests.splits.test_partition import corpus

VOTES = Votes(
    target="votes",
    classes=["angry", "happy"],
    merge={"excited": "happy"},
    votes="primary",
    undecided="keep",
)
AFFECT = Dimensions(target="dimensions", dimensions=["arousal", "valence"], loss="ccc")
CLIP = corpus(speakers=1, takes=1)[0]


@pytest.mark.parametrize(
    ("votes", "aim"),
    [
        ({"angry": 3, "happy": 1}, (0, (0.75, 0.25))),
        ({"angry": 1, "happy": 1, "excited": 2}, (1, (0.25, 0.75))),  # merged votes are one
        ({"angry": 2, "happy": 2, "sad": 9}, (UNDECIDED, (0.5, 0.5))),  # sad is no class
        ({"sad": 9}, None),
        ({"angry": 0}, None),
        ({}, None),
    ],
)
def test_votes_become_shares_and_the_class_with_most_of_them(
    votes: dict[str, float], aim: object
) -> None:
    assert VOTES.aim(replace(CLIP, votes=votes)) == aim
    dropping = VOTES.model_copy(update={"undecided": "drop"})
    expected = None if aim and aim[0] == UNDECIDED else aim
    assert dropping.aim(replace(CLIP, votes=votes)) == expected


@pytest.mark.parametrize(
    ("votes", "second", "aim"),
    [
        # 4 primary choices and 4 second ones, of which sad is no class: 3 and 4 of 7.
        ({"angry": 3, "happy": 1}, {"excited": 3, "sad": 1}, (0, (3 / 7, 4 / 7))),
        ({"angry": 1, "happy": 1}, {"happy": 2}, (UNDECIDED, (0.25, 0.75))),
        ({"sad": 2}, {"happy": 2}, (UNDECIDED, (0.0, 1.0))),  # none of the primary ones is a class
        ({"angry": 2}, {}, (0, (1.0, 0.0))),
        ({"sad": 2}, {"sad": 2}, None),
    ],
)
def test_second_votes_move_the_distribution_and_never_the_consensus(
    votes: dict[str, float], second: dict[str, float], aim: tuple[int, object] | None
) -> None:
    rated = replace(CLIP, votes=votes, votes2=second)
    both = VOTES.model_copy(update={"votes": "both"})
    assert both.aim(rated) == aim
    dropping = both.model_copy(update={"undecided": "drop"})
    assert dropping.aim(rated) == (None if aim and aim[0] == UNDECIDED else aim)
    assert VOTES.aim(rated) == VOTES.aim(replace(rated, votes2={}))
    assert both.held(rated) == [*dict.fromkeys([*votes, *second])]
    assert VOTES.held(rated) == [*votes]


def test_a_dimension_that_is_missing_leaves_the_utterance_out() -> None:
    rated = replace(CLIP, dimensions={"valence": 2.0, "arousal": 4.5, "dominance": 1})
    assert AFFECT.aim(rated) == (UNDECIDED, (4.5, 2.0))
    assert AFFECT.aim(replace(CLIP, dimensions={"valence": 2.0})) is None


def test_what_takes_no_part_is_counted_by_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    clips = corpus(speakers=2, takes=1)
    said: list[dict[str, float]] = [
        {"angry": 2},
        {"angry": 1, "happy": 1},
        {"sad": 1},
        {},
        {"happy": 2},
        {"happy": 1},
    ]
    clips = [replace(clip, votes=votes) for clip, votes in zip(clips, said, strict=True)]
    roles = {clip.clip: "train" for clip in clips}
    dropping = VOTES.model_copy(update={"undecided": "drop"})
    assert len(examples(dropping, clips, roles, "task.x")) == 3
    assert capsys.readouterr().err == (
        "task.x: 3 of 6 clips take no part: 2 no votes, 1 undecided\n"
    )
    with pytest.raises(PipelineError, match=r"task\.x\.dimensions has 'arousal', but no training"):
        examples(AFFECT, clips, roles, "task.x")


def test_the_scale_of_dimensions_is_that_of_training_clips_alone() -> None:
    clips = corpus(speakers=3, takes=1)
    rated = [
        replace(clip, dimensions={"arousal": float(n), "valence": 3.0})
        for n, clip in enumerate(clips)
    ]
    roles = {clip.clip: "test" if n == 8 else "train" for n, clip in enumerate(rated)}
    found = examples(AFFECT, rated, roles)
    assert len(of_role(found, "train")) == 8
    means, deviations = scale(AFFECT, found)
    assert means == [3.5, 3.0]
    assert deviations == pytest.approx([(63 / 12) ** 0.5, 1.0])  # a constant is divided by 1
    assert scale(VOTES, found) == ([], [])


def test_a_dimension_that_no_corpus_has_is_named_with_the_nearest() -> None:
    clips = [replace(clip, dimensions={"arousal": 1.0}) for clip in corpus(speakers=2, takes=1)]
    held = scope.labels(AFFECT, clips)
    assert scope.lines("task.x", AFFECT, held) == []
    wrong = AFFECT.model_copy(update={"dimensions": ["arousel"]})
    with pytest.raises(PipelineError, match=r"the dimension 'arousel' \(nearest label 'arousal'\)"):
        scope.require_filled("task.x", wrong, held)


def test_ratings_on_two_scales_are_not_learnt_together() -> None:
    scales = {"a": {"arousal": [1, 5], "valence": [1, 5]}, "b": {"arousal": [1, 5]}, "c": {}}
    scope.require_one_scale("task.x", AFFECT, scales)
    scales["b"]["arousal"] = [1, 7]
    with pytest.raises(
        PipelineError, match="'arousal', which was rated 1 to 5 in a and 1 to 7 in b"
    ):
        scope.require_one_scale("task.x", AFFECT, scales)
    scope.require_one_scale("task.x", VOTES, scales)


def test_a_target_is_known_by_its_name(project: Path) -> None:
    assert isinstance(targets.of("emotion"), Emotion)
    assert isinstance(targets.of("heard"), Votes)
    assert isinstance(targets.of("affect"), Dimensions)
    path = project / "params.yaml"
    text = path.read_text("utf-8")
    for old, new, message in (
        ("loss: ccc", "loss: ce", "task.affect.loss must be 'ccc', 'mse' or 'mae', got 'ce'"),
        ("loss: ccc", "los: ccc", "unknown key 'task.affect.los', did you mean 'loss'"),
        ("target: votes", "target: vote", "task.heard.target must be one of"),
        ("    target: votes\n", "", "missing key 'task.heard.target', add it"),
        (
            "    votes: primary\n",
            "    votes: second\n",
            "task.heard.votes must be 'primary' or 'both'",
        ),
        ("undecided: keep", "undecided: yes", "task.heard.undecided must be 'keep' or 'drop'"),
        ("    - valence\n", "    - arousal\n", "task.affect must be of names that differ"),
    ):
        assert old in text
        path.write_text(text.replace(old, new, 1), "utf-8")
        params.read.cache_clear()
        with pytest.raises(PipelineError, match=message):
            for name in ("heard", "affect"):
                targets.of(name)


def test_one_class_is_no_task() -> None:
    with pytest.raises(ValidationError):
        Votes(target="votes", classes=["angry"], merge={}, votes="primary", undecided="keep")
