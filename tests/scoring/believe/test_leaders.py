"""The best row of a task, against scores of scikit-learn and the test of `ser compare`."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from pipeline.report.believe import result_section
from pipeline.scoring import comparison
from pipeline.scoring.believe import leaders
from pipeline.scoring.evaluation import Classifier, Run
from pipeline.scoring.scores import Bootstrap, Predictions

CLASSES = ["angry", "sad", "happy"]
DRAWN = Bootstrap(200, 1)
RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 3, 120)


def classifier(method: str, skill: float, order: np.ndarray, speakers: int = 8) -> Classifier:
    rng = np.random.default_rng(len(method))
    logits = rng.normal(0, 1, (120, 3)) + skill * np.eye(3)[TRUTH]
    names = np.array([f"c/u{n:03d}" for n in range(120)])
    spoken = np.array([f"c/s{n % speakers}" for n in range(120)])
    tested = Predictions(
        fold=np.zeros(120, int)[order], utterance=names[order], corpus=np.full(120, "c"),
        speaker=spoken[order], truth=TRUTH[order], guess=logits[order],
    )  # fmt: skip
    hits = tested.guess.argmax(1)
    scores = {"uar": float(balanced_accuracy_score(tested.truth, hits))}
    return Classifier("emotion", "fbank", method, CLASSES, tested, scores, {})


def test_the_best_is_that_of_scikit_learn_and_the_gain_that_of_compare() -> None:
    forwards, mixed = np.arange(120), RNG.permutation(120)
    rows = [classifier("weak", 0.2, forwards), classifier("strong", 2.0, mixed)]
    rows.append(classifier("middling", 1.0, forwards))
    (found,) = leaders.find(rows, DRAWN)
    assert (found.best.method, found.count) == ("strong", 3)
    assert found.behind and found.behind.method == "middling"
    assert found.score == pytest.approx(rows[1].scores["uar"])
    same = comparison.compare([rows[2].tested], [rows[1].tested], 3, DRAWN)
    assert found.gain["gain"] == pytest.approx(same.uar_b - same.uar_a, abs=1e-3)
    assert found.gain["gain_p"] == pytest.approx(same.p, abs=1e-3)


@pytest.mark.parametrize(
    ("skill", "speakers", "told"),
    [
        (3.0, 8, "more than chance would give"),
        (0.25, 8, "which may be chance"),
        (3.0, 2, "too few"),
    ],
)
def test_the_sentence_says_how_sure_it_is(skill: float, speakers: int, told: str) -> None:
    order = np.arange(120)
    rows = [classifier("a", 0.2, order, speakers), classifier("bb", skill, order, speakers)]
    found = leaders.find(rows, DRAWN)
    run = Run({}, [], {"speaker_independent": True}, rows, {}, {}, {})
    sentence = result_section._sentence(found[0], run)
    assert told in sentence
    assert "guessing has 0.333" in sentence


def test_one_row_alone_leads_nobody() -> None:
    (found,) = leaders.find([classifier("a", 1.0, np.arange(120))], DRAWN)
    assert found.behind is None and found.gain == {}
