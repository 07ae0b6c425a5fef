import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import normalized_mutual_info_score

from pipeline.ground.errors import PipelineError
from pipeline.units import tally
from tests.clustered import clip

NO_PHONES = (np.array([0]), [""])
PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=2, max_size=60)


@given(PAIRS)
def test_agreement_is_scikit_learns_and_the_definition(pairs: list[tuple[int, int]]) -> None:
    units, values = (np.array(column) for column in zip(*pairs, strict=True))
    table = np.zeros((6, 4), np.int64)
    np.add.at(table, (units, values), 1)
    found = tally.agreement(table)
    if len(set(values.tolist())) < 2:
        assert found is None
        return
    assert found is not None
    commonest = sum(
        max(int((values[units == unit] == value).sum()) for value in range(4)) for unit in range(6)
    )
    assert found["purity"] == pytest.approx(commonest / len(pairs))
    assert found["chance"] == pytest.approx(np.bincount(values).max() / len(pairs))
    assert found["nmi"] == pytest.approx(normalized_mutual_info_score(values, units), abs=1e-9)


def made() -> tally.Tally:
    """Three clips of 4, 2 and 3 frames, counted in two blocks that cut the second clip."""
    clips = [
        clip("a", "ann", "female", "happy"),
        clip("b", "bob", "unknown", ""),
        clip("c", "cid", "male", "sad"),
    ]
    roles = {"demo/a": "train", "demo/b": "train", "demo/c": "dev"}
    codebooks = {4: np.array([[0], [1], [2], [2]], np.float32)}
    # Frames 1 and 2 of the first clip are a vowel, all of the second a nasal.
    phones = (np.array([0, 1, 3, 4, 4, 6, 6]), ["", "vowel", "", "", "nasal", "", ""])
    found = tally.Tally(codebooks, clips, roles, np.array([0, 4, 6, 9]), phones)
    distances = np.arange(9, dtype=np.float32)
    units = np.array([0, 0, 1, 1, 2, 2, 0, 1, 1])
    for rows in (slice(0, 5), slice(5, 9)):
        found.add(rows, {4: (distances[rows], units[rows])})
    return found


def test_counts_by_role() -> None:
    report = made().report()["4"]
    assert report["duplicates"] == 1
    train, dev = report["train"], report["dev"]
    assert (train["frames"], dev["frames"]) == (6, 3)
    assert (train["inertia"], dev["inertia"]) == (2.5, 7.0)
    assert (train["utilisation"], train["empty"]) == (0.75, 1)
    assert train["entropy_bits"] == pytest.approx(np.log2(3))
    assert (train["smallest"], train["median"], train["largest"]) == (0, 2.0, 2)
    # Two speakers in train, of whom units 0 and 1 are all ann's, 2 all bob's.
    assert train["speaker"]["purity"] == 1.0
    # One known gender in train, one emotion: nothing to tell apart.
    assert train["gender"] is None
    assert train["emotion"] is None
    assert dev["speaker"] is None
    # Unit 0 has a vowel, 1 a vowel, 2 two nasals.
    assert train["phone"] == {"purity": 1.0, "chance": 0.5, "nmi": pytest.approx(0.8)}
    assert dev["phone"] is None
    assert train["sizes"] == np.quantile([2, 2, 2, 0], np.linspace(0, 1, 21)).tolist()


def test_idle_centroids_are_refused() -> None:
    with pytest.raises(PipelineError, match=r"4 centroids.* only 3 own"):
        made().require_used()


def test_no_dev_frames_leave_the_report_whole() -> None:
    codebooks = {2: np.eye(2, dtype=np.float32)}
    found = tally.Tally(
        codebooks, [clip("a", "ann")], {"demo/a": "train"}, np.array([0, 2]), NO_PHONES
    )
    found.add(slice(0, 2), {2: (np.zeros(2, np.float32), np.array([0, 1]))})
    found.require_used()
    assert found.report()["2"]["dev"]["inertia"] is None


@given(st.lists(st.integers(0, 9), min_size=1), st.integers(0, 60))
def test_an_attribute_is_that_of_the_clip_that_holds_the_frame(
    lengths: list[int], seed: int
) -> None:
    offsets = np.cumsum([0, *lengths])
    names = np.random.default_rng(seed).choice(["", "a", "b", "unknown"], len(lengths)).tolist()
    attribute = tally.Attribute.of(offsets[:-1], names)
    known = sorted(set(names) - {"", "unknown"})
    truth = [n for n, length in zip(names, lengths, strict=True) for _ in range(length)]
    expected = [known.index(n) if n in known else -1 for n in truth]
    assert attribute.at(np.arange(offsets[-1])).tolist() == expected


def test_the_mean_of_reports_is_over_the_folds_that_have_a_figure() -> None:
    folds = [
        {"a": 1, "b": {"purity": 0.5}, "c": None, "sizes": [1, 2]},
        {"a": 2, "b": None, "c": None, "sizes": [3, 6]},
    ]
    expected = {"a": 1.5, "b": {"purity": 0.5}, "c": None, "sizes": [2.0, 4.0]}
    assert tally.mean(folds) == expected
