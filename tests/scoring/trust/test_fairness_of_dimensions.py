"""Gaps of dimensions between groups: against formulas by hand, scipy's test, and by chance."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from pipeline.corpora.manifest import Clip
from pipeline.report.trust import fairness_section
from pipeline.scoring.evaluation import Classifier, Run
from pipeline.scoring.scores import Bootstrap, Predictions, Scores
from pipeline.scoring.trust import fairness
from tests.recordings import clip
from tests.scoring.trust.test_fairness import DRAWS, Known, gender, study

NAMES = ["arousal", "valence"]
EACH = 20  # utterances of a speaker


def rated(
    speakers: int,
    known: Callable[[int], Known],
    error: Callable[[Known], float] = lambda _: 0.5,
    seed: int = 0,
) -> tuple[Classifier, list[Clip]]:
    """A regressor whose values are off by a normal error of what ``error`` says of a speaker."""
    rng, clips, truth, guess = np.random.default_rng(seed), [], [], []
    for speaker in range(speakers):
        about = known(speaker)
        own = max(0.05, error(about) + rng.normal(0, 0.05))
        for number in range(EACH):
            who = about.get("speaker", f"{about['corpus']}/{speaker}")
            made = {k: v for k, v in about.items() if k != "speaker"}
            clips.append(clip(f"{speaker}-{number}", speaker=who, **made))
            ratings = rng.normal(4, 1, 2)
            truth.append(ratings)
            guess.append(ratings + rng.normal(0, own, 2))
    names, corpora, said = (
        np.array([getattr(c, k) for c in clips]) for k in ("utterance", "corpus", "speaker")
    )
    said = np.where(said == "", corpora, said)  # as predictions have it
    fold = np.zeros(len(clips), np.int64)
    tested = Predictions(names, corpora, said, fold, np.array(truth), np.array(guess))
    return Classifier("affect", "fbank", "linear", NAMES, tested, {}, {}), clips


def scored(made: tuple[Classifier, list[Clip]], bootstrap: Bootstrap = DRAWS) -> Scores:
    found = fairness.score([made[0]], made[1], bootstrap)
    return dict(found["affect"]["fbank"]["linear"]) if found else {}


def ccc(x: np.ndarray, y: np.ndarray) -> float:
    """Lin, 1989, equation 2, with population moments."""
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    return float(2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))


def by_hand(tested: Predictions, own: np.ndarray) -> tuple[float, float]:
    truth, guess = tested.truth[own], tested.guess[own]
    each = [ccc(truth[:, k], guess[:, k]) for k in range(2)]
    return float(np.mean(each)), float(np.abs(truth - guess).mean())


def worse_for_men(about: Known) -> float:
    return 0.4 + 0.3 * (about["gender"] == "male")


def test_groups_have_lins_concordance_and_their_error() -> None:
    made = rated(10, gender, worse_for_men)
    found, told = scored(made), np.array([c.gender for c in made[1]])
    assert list(found) == ["gender"]
    one = found["gender"]
    values = {}
    for name in ("female", "male"):
        group = one["groups"][name]
        values[name] = by_hand(made[0].tested, told == name)
        assert (group["ccc"], group["mae"]) == pytest.approx(values[name], abs=1e-4)
        assert group["ccc_low"] <= group["ccc"] <= group["ccc_high"]
        assert group["mae_low"] <= group["mae"] <= group["mae_high"]
        assert (group["speakers"], group["utterances"]) == (5, 5 * EACH)
    for number, measure in enumerate(("ccc", "mae")):
        gap = abs(values["female"][number] - values["male"][number])
        assert one[f"{measure}_gap"] == pytest.approx(gap, abs=1e-4)
    assert (one["speakers"], one["left_out"], one["exact"]) == (10, 0, True)
    assert "classes" not in one and "uar_gap" not in one


@pytest.mark.parametrize("number", [0, 1], ids=["ccc", "mae"])
def test_p_is_scipys_over_speakers(number: int) -> None:
    made = rated(9, gender, worse_for_men, seed=3)
    tested = made[0].tested

    def gap(one: np.ndarray, other: np.ndarray) -> float:
        sides = [np.isin(tested.speaker, [f"a/{s:.0f}" for s in part]) for part in (one, other)]
        values = [by_hand(tested, own)[number] for own in sides]
        return abs(values[0] - values[1])

    halves = np.arange(0, 9, 2), np.arange(1, 9, 2)
    peer = stats.permutation_test(halves, gap, n_resamples=np.inf, alternative="greater")
    found = scored(made)["gender"]
    assert found[f"{('ccc', 'mae')[number]}_p"] == pytest.approx(peer.pvalue, abs=1e-4)
    least, most = sorted([found["ccc_p"], found["mae_p"]])
    expected = [min(1, 2 * least), max(min(1, 2 * least), most)]
    adjusted = sorted([found["ccc_p_adjusted"], found["mae_p_adjusted"]])
    assert adjusted == pytest.approx(expected, abs=2e-4)


def test_a_planted_gap_is_found_and_no_gap_rarely() -> None:
    """Twelve speakers, forty studies each: at most 7 of 40 below 0.05 by chance (p 0.002)."""
    for effect, least, most in ((0.0, 0, 7), (0.4, 36, 40)):

        def error(about: Known, more: float = effect) -> float:
            return 0.4 + more * (about["gender"] == "male")

        studies = [scored(rated(12, gender, error, seed), Bootstrap(100, 0)) for seed in range(40)]
        for measure in ("ccc", "mae"):
            below = [one["gender"][f"{measure}_p"] <= 0.05 for one in studies]
            assert least <= sum(below) <= most, measure


def test_what_corpora_differ_in_is_no_gap_of_genders() -> None:
    """Corpus b is harder and has mostly men: genders are permuted within each corpus."""

    def known(speaker: int) -> Known:
        corpus, number = ("a", "b")[speaker // 8], speaker % 8
        male = number < (2 if corpus == "a" else 6)
        return {"gender": "male" if male else "female", "corpus": corpus}

    found = scored(rated(16, known, lambda about: 0.2 if about["corpus"] == "a" else 1.2))
    assert found["gender"]["mae_gap"] > 0.2 and found["gender"]["mae_p"] > 0.2
    assert found["corpus"]["mae_p"] < 0.01 and found["corpus"]["ccc_p"] < 0.01


def test_few_speakers_have_a_gap_and_no_p_and_the_unknown_are_counted() -> None:
    few = scored(rated(6, gender))["gender"]
    assert {"ccc_gap", "mae_gap"} <= set(few)
    assert not {"ccc_p", "mae_p", "exact"} & set(few)

    def known(speaker: int) -> Known:
        return {"gender": "unknown", "corpus": "a"} if speaker == 10 else gender(speaker)

    full, part = scored(rated(11, known))["gender"], scored(rated(10, gender))["gender"]
    assert (full.pop("left_out"), part.pop("left_out")) == (EACH, 0)
    assert full == part


def test_constant_answers_have_no_concordance_and_break_nothing() -> None:
    made, clips = rated(10, gender)
    made.tested.guess[:] = 4.0
    found = scored((made, clips))["gender"]
    assert found["ccc_gap"] == 0 and found["ccc_p"] == 1
    assert found["mae_gap"] > 0


def test_tables_beside_those_of_classes(tmp_path: Path) -> None:
    rated_by, told = scored(rated(10, gender)), study(10, gender)
    classes = fairness.score([told[0]], told[1], DRAWS)
    everything = {**classes, "affect": {"fbank": {"linear": rated_by}}}
    fairness.write_tables(tmp_path, everything)
    with (tmp_path / "fairness.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["task"], r["ccc"] != "", r["uar"] != "") for r in rows] == [
        ("emotion", False, True), ("emotion", False, True),
        ("affect", True, False), ("affect", True, False),
    ]  # fmt: skip
    assert float(rows[3]["mae_high"]) == rated_by["gender"]["groups"]["male"]["mae_high"]
    short = fairness.headline(everything)["affect"]["fbank"]["linear"]
    one = rated_by["gender"]
    assert short == {
        f"gender_{m}_gap_p": [one[f"{m}_gap"], one[f"{m}_p_adjusted"]] for m in ("ccc", "mae")
    }
    run = Run({}, [], {}, [], {}, {}, {}, trust={"fairness": everything})
    section = fairness_section.section(run, tmp_path)
    assert section is not None
    assert [table.header[2] for table in section.tables] == ["UAR gap", "UAR", "CCC gap", "CCC"]
    gaps, groups = section.tables[2:]
    assert gaps.rows[0][-1] == "5 female, 5 male speakers"
    assert all(len(row) == len(table.header) for table in section.tables for row in table.rows)
    assert len(groups.rows) == 2
