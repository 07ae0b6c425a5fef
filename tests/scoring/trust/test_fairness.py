"""Gaps between groups against scikit-learn and loops; who is left out; what is found by chance."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score

from pipeline.corpora.manifest import Clip
from pipeline.metrics.calibration import BINS, reliability
from pipeline.report.trust import fairness_section
from pipeline.scoring.calibrated import Confidence
from pipeline.scoring.evaluation import Classifier, Run
from pipeline.scoring.scores import Bootstrap, Predictions, Scores
from pipeline.scoring.trust import fairness
from tests.recordings import clip

CLASSES = ["angry", "happy", "sad"]
DRAWS = Bootstrap(200, 0)
Known = dict[str, str]


def gender(speaker: int) -> Known:
    return {"gender": ("female", "male")[speaker % 2], "corpus": "a"}


def study(
    speakers: int,
    known: Callable[[int], Known],
    skill: Callable[[Known], float] = lambda _: 1.0,
    each: int = 24,
    seed: int = 0,
    temperatures: tuple[float, ...] = (),
) -> tuple[Classifier, list[Clip]]:
    """A classifier whose logits favour the truth by what ``skill`` says of a speaker."""
    rng, clips, truth, guess = np.random.default_rng(seed), [], [], []
    for speaker in range(speakers):
        about = known(speaker)
        skilled = skill(about) + rng.normal(0, 0.2)
        for number in range(each):
            who = about.get("speaker", f"{about['corpus']}/{speaker}")
            made = {k: v for k, v in about.items() if k != "speaker"}
            clips.append(clip(f"{speaker}-{number}", speaker=who, **made))
            truth.append(number % 3)
            guess.append(rng.normal(0, 1, 3) + skilled * np.eye(3)[number % 3])
    names, corpora, said = (
        np.array([getattr(c, k) for c in clips]) for k in ("utterance", "corpus", "speaker")
    )
    said = np.where(said == "", corpora, said)  # as predictions have it
    fold = np.arange(len(clips)) % 2 if temperatures else np.zeros(len(clips), np.int64)
    tested = Predictions(names, corpora, said, fold, np.array(truth), np.array(guess))
    none = reliability(np.array([0.5]), np.array([True]))
    sure = Confidence(none, none if temperatures else None, temperatures)
    return Classifier("emotion", "fbank", "linear", CLASSES, tested, {}, {}, sure), clips


def scored(made: tuple[Classifier, list[Clip]], bootstrap: Bootstrap = DRAWS) -> Scores:
    found = fairness.score([made[0]], made[1], bootstrap)
    return dict(found["emotion"]["fbank"]["linear"]) if found else {}


def ece(confidence: np.ndarray, right: np.ndarray) -> float:
    """Guo et al., 2017, equation 3, bin by bin."""
    total = 0.0
    for low in np.arange(BINS) / BINS:
        inside = (confidence > low) & (confidence <= low + 1 / BINS)
        if inside.any():
            total += inside.sum() * abs(right[inside].mean() - confidence[inside].mean())
    return total / len(right)


@pytest.mark.parametrize("temperatures", [(), (0.5, 3.0)])
def test_groups_have_scikit_learns_recall_and_the_error_of_their_bins(
    temperatures: tuple[float, ...],
) -> None:
    made = study(10, gender, temperatures=temperatures)
    tested = made[0].tested
    found = scored(made)["gender"]
    told = np.array([c.gender for c in made[1]])
    divisor = np.array(temperatures or (1.0,))[tested.fold][:, None]
    sure = softmax(tested.guess / divisor, axis=1).max(1)
    guess = tested.guess.argmax(1)
    uars, eces = [], []
    for name in ("female", "male"):
        own, group = told == name, found["groups"][name]
        uars.append(balanced_accuracy_score(tested.truth[own], guess[own]))
        eces.append(ece(sure[own], (guess == tested.truth)[own]))
        assert group["uar"] == pytest.approx(uars[-1], abs=1e-4)
        assert group["ece"] == pytest.approx(eces[-1], abs=1e-4)
        assert group["uar_low"] <= group["uar"] <= group["uar_high"]
        assert (group["speakers"], group["utterances"]) == (5, 120)
    assert found["uar_gap"] == pytest.approx(max(uars) - min(uars), abs=1e-4)
    assert found["ece_gap"] == pytest.approx(max(eces) - min(eces), abs=1e-4)
    assert (found["speakers"], found["classes"], found["exact"]) == (10, CLASSES, True)


def test_p_is_scipys_over_speakers() -> None:
    made = study(9, gender, lambda about: 1.0 + 0.6 * (about["gender"] == "male"))
    tested = made[0].tested
    right = tested.guess.argmax(1) == tested.truth
    hits = np.array([
        [right[(tested.speaker == f"a/{s}") & (tested.truth == k)].sum() for k in range(3)]
        for s in range(9)
    ])  # fmt: skip

    def gap(one: np.ndarray, other: np.ndarray) -> float:
        uar = [(hits[part.astype(int)].sum(0) / (8 * len(part))).mean() for part in (one, other)]
        return float(abs(uar[0] - uar[1]))

    halves = np.arange(0, 9, 2), np.arange(1, 9, 2)
    peer = stats.permutation_test(halves, gap, n_resamples=np.inf, alternative="greater")
    found = scored(made)["gender"]
    assert found["uar_p"] == pytest.approx(peer.pvalue, abs=1e-4)
    # Two gaps of one classifier.
    least, most = sorted([found["uar_p"], found["ece_p"]])
    adjusted = sorted([found["uar_p_adjusted"], found["ece_p_adjusted"]])
    expected = [min(1, 2 * least), max(min(1, 2 * least), most)]
    assert adjusted == pytest.approx(expected, abs=2e-4)


def test_a_planted_gap_is_found_and_no_gap_rarely() -> None:
    """Twelve speakers, forty studies each: at most 7 of 40 below 0.05 by chance (p 0.002)."""
    for effect, least, most in ((0.0, 0, 7), (1.5, 36, 40)):

        def skill(about: Known, more: float = effect) -> float:
            return 0.5 + more * (about["gender"] == "male")

        studies = [study(12, gender, skill, seed=seed) for seed in range(40)]
        below = [scored(one, Bootstrap(100, 0))["gender"]["uar_p"] <= 0.05 for one in studies]
        assert least <= sum(below) <= most


def test_few_speakers_have_a_gap_and_no_p() -> None:
    for speakers in (6, 7):
        found = scored(study(speakers, gender))["gender"]
        assert "uar_gap" in found
        assert not {"uar_p", "ece_p", "uar_p_adjusted", "exact"} & set(found)
    assert "uar_p" in scored(study(8, gender))["gender"]
    assert scored(study(8, lambda _: {"gender": "female", "corpus": "a"})) == {}


def two_corpora(speaker: int) -> Known:
    """English in one, in the other German: as many women in each."""
    corpus = ("a", "b")[speaker // 8]
    return {**gender(speaker), "corpus": corpus, "language": {"a": "en", "b": "de"}[corpus]}


def test_languages_that_are_corpora_are_told_once() -> None:
    found = scored(study(16, two_corpora))
    assert set(found) == {"gender", "corpus"}
    mixed = study(16, lambda s: {**two_corpora(s), "language": ("en", "de")[s % 2]})
    assert set(scored(mixed)) == {"gender", "language", "corpus"}


def test_what_corpora_differ_in_is_no_gap_of_genders() -> None:
    """Corpus b is harder and has mostly men: genders are permuted within each corpus."""

    def known(speaker: int) -> Known:
        corpus, number = ("a", "b")[speaker // 8], speaker % 8
        male = number < (2 if corpus == "a" else 6)
        return {"gender": "male" if male else "female", "corpus": corpus}

    found = scored(study(16, known, lambda about: 2.5 if about["corpus"] == "a" else 0.2))
    assert found["gender"]["uar_gap"] > 0.15
    assert found["gender"]["uar_p"] > 0.2
    assert found["corpus"]["uar_p"] < 0.01


def test_where_no_corpus_has_both_nothing_is_told() -> None:
    found = scored(
        study(16, lambda s: {"gender": ("female", "male")[s // 8], "corpus": ("a", "b")[s // 8]})
    )
    assert "uar_p" not in found["gender"]
    assert "uar_p" in found["corpus"]


def test_who_is_unknown_is_left_out_and_counted() -> None:
    def known(speaker: int) -> Known:
        if speaker == 10:
            return {"gender": "unknown", "corpus": "a"}
        if speaker == 11:
            return {"gender": "male", "corpus": "a", "speaker": ""}
        return gender(speaker)

    full, part = scored(study(12, known))["gender"], scored(study(10, gender))["gender"]
    assert full.pop("left_out") == 48
    assert part.pop("left_out") == 0
    assert full == part


def test_recalls_are_of_the_classes_that_all_groups_have() -> None:
    made, clips = study(12, gender)
    kept = np.array([c.gender == "male" for c in clips]) | (made.tested.truth != 2)
    rows = made.tested.of(kept)
    fewer = Classifier("emotion", "fbank", "linear", CLASSES, rows, {}, {}, made.confidence)
    found = scored((fewer, clips))["gender"]
    assert found["classes"] == ["angry", "happy"]
    own = np.array([c.gender == "male" for c in clips])[kept] & (rows.truth < 2)
    right = rows.guess.argmax(1) == rows.truth
    recalls = [right[own & (rows.truth == k)].mean() for k in (0, 1)]
    assert found["groups"]["male"]["uar"] == pytest.approx(np.mean(recalls), abs=1e-4)


def test_a_table_a_short_list_and_a_section_say_it(tmp_path: Path) -> None:
    enough, few = study(10, gender), study(6, gender)
    nested = {
        "emotion": {"fbank": {"linear": scored(enough)}, "tiny": {"linear": scored(few)}},
    }
    fairness.write_tables(tmp_path, nested)
    with (tmp_path / "fairness.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["start"], r["group"], r["speakers"]) for r in rows] == [
        ("fbank", "female", "5"), ("fbank", "male", "5"),
        ("tiny", "female", "3"), ("tiny", "male", "3"),
    ]  # fmt: skip
    assert (rows[0]["uar_p"] != "", rows[2]["uar_p"]) == (True, "")
    short = fairness.headline(nested)["emotion"]
    one = nested["emotion"]["fbank"]["linear"]["gender"]
    gap_p = [one["uar_gap"], one["uar_p_adjusted"]]
    assert short["fbank"]["linear"]["gender_uar_gap_p"] == gap_p
    assert len(short["tiny"]["linear"]["gender_ece_gap_p"]) == 1
    about: Scores = {"speaker_independent": True}
    run = Run({}, [], about, [], {}, {}, {}, trust={"fairness": nested})
    section = fairness_section.section(run, tmp_path)
    assert section is not None
    gaps, groups = section.tables
    assert gaps.rows[0][-1] == "5 female, 5 male speakers"
    assert gaps.rows[1][3] == gaps.rows[1][6] == fairness_section.TOO_FEW
    assert len(groups.rows) == 4
    assert fairness_section.section(Run({}, [], about, [], {}, {}, {}), tmp_path) is None
