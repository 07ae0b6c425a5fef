"""The demo corpus: layout, determinism, and what can be learnt from it."""

import csv
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import wavfile
from scipy.signal import resample_poly, stft

from pipeline.corpora.manifest import EMOTIONS
from pipeline.demo import listeners, synthesis
from pipeline.demo.synthesis import CUES, EXPRESSIONS


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of the committed params.yaml."""
    folder = tmp_path_factory.mktemp("synthesis") / "demo"
    synthesis.write(folder, seed=1, speakers=8, takes=2, panel=20)
    return folder


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open(encoding="utf-8", newline="")))


def test_every_speaker_speaks_every_emotion_in_one_session(demo: Path) -> None:
    rows = table(demo / "labels.csv")
    assert len(rows) == 8 * 8 * 2
    assert {row["path"] for row in rows} == {f"wav/{p.name}" for p in (demo / "wav").iterdir()}
    speakers = {(row["speaker"], row["gender"], row["session"]) for row in rows}
    assert len(speakers) == 8
    by_session = {(session, gender) for _, gender, session in speakers}
    assert by_session == set(product("1234", ("female", "male")))
    assert {row["emotion"] for row in rows} == set(EMOTIONS)


def test_recordings_are_44_khz_16_bit_about_four_minutes_unclipped(demo: Path) -> None:
    waves = [wavfile.read(path) for path in sorted((demo / "wav").iterdir())]
    assert {rate for rate, _ in waves} == {44_100}
    assert {wave.dtype for _, wave in waves} == {np.dtype(np.int16)}
    assert 210 < sum(len(wave) for _, wave in waves) / 44_100 < 270
    assert max(int(np.abs(wave).max()) for _, wave in waves) < 32_000
    assert min(float(wave.std()) for _, wave in waves) > 50


def test_phones_cover_each_recording(demo: Path) -> None:
    rows = table(demo / "phones.csv")
    path = rows[0]["path"]
    _, wave = wavfile.read(demo / path)
    own = [row for row in rows if row["path"] == path]
    assert float(own[0]["start_s"]) == 0
    assert [row["end_s"] for row in own[:-1]] == [row["start_s"] for row in own[1:]]
    assert float(own[-1]["end_s"]) == pytest.approx(len(wave) / 44_100, abs=1e-5)
    vowels = [row for row in own if row["class"] == "vowel"]
    start, end = (int(float(vowels[0][key]) * 44_100) for key in ("start_s", "end_s"))
    assert wave[start:end].astype(float).std() > 10 * wave[:2000].astype(float).std()


def test_an_utterance_follows_from_its_own_seed(demo: Path) -> None:
    again = synthesis.utter(seed=1, number=5, emotion="fear", take=1, panel=20)
    _, wave = wavfile.read(demo / again.path)
    assert np.array_equal(wave, again.samples)
    other = synthesis.utter(seed=2, number=5, emotion="fear", take=1, panel=20)
    assert not np.array_equal(other.samples[: len(wave)], wave[: len(other.samples)])


def test_emotions_differ_as_the_literature_says() -> None:
    """Juslin & Laukka (2003), table 11: the signs that most studies agree on."""
    loud = {name: dict(zip(CUES, cues, strict=True)) for name, cues in EXPRESSIONS.items()}
    for name in ("angry", "happy"):
        assert all(loud[name][cue] > 0 for cue in ("pitch", "range", "tempo", "energy", "tension"))
    assert all(loud["sad"][cue] < 0 for cue in ("pitch", "range", "tempo", "energy", "tension"))
    assert loud["fear"]["pitch"] > 0 > loud["fear"]["range"]
    assert loud["fear"]["tempo"] > 0


def test_what_was_meant_can_be_heard(demo: Path) -> None:
    rows = table(demo / "labels.csv")

    def mean(emotion: str, percept: str) -> float:
        own = [float(row[f"share_{percept}"]) for row in rows if row["emotion"] == emotion]
        return float(np.mean(own))

    expected = {"angry": "anger", "calm": "calmness", "sad": "sadness", "happy": "excitement"}
    for emotion, percept in expected.items():
        assert mean(emotion, percept) == max(mean(other, percept) for other in EMOTIONS)


def test_shares_are_binomial_around_the_affinity() -> None:
    rng = np.random.default_rng(0)
    cues = np.array(EXPRESSIONS["happy"])
    heard = [listeners.shares(cues, 20, rng)["excitement"] for _ in range(400)]
    p = listeners.affinities(cues)["excitement"]
    assert set(np.round(np.array(heard) * 20, 9)) <= set(range(21))
    assert np.mean(heard) == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 20 / 400))
    assert np.var(heard) == pytest.approx(p * (1 - p) / 20, rel=0.3)


def test_affinity_is_a_gaussian_of_the_distance() -> None:
    off = np.array(listeners.PERCEPTS["anger"])
    assert listeners.affinities(off)["anger"] == pytest.approx(listeners.CLARITY)
    off[2] += listeners.TOLERANCE
    assert listeners.affinities(off)["anger"] == pytest.approx(0.9 * np.exp(-0.5))


def log_mel(path: Path, bands: int) -> NDArray[np.float64]:
    """Mean and deviation over time of log mel energies at 16 kHz, of shape (2 * bands,)."""
    from librosa.filters import mel

    _, wave = wavfile.read(path)
    _, _, spectrum = stft(resample_poly(wave / 32768, 160, 441), nperseg=400, noverlap=240)
    power = mel(sr=16_000, n_fft=400, n_mels=bands) @ np.abs(spectrum) ** 2
    energy: NDArray[np.float64] = np.log(power + 1e-12)
    return np.concatenate([energy.mean(1), energy.std(1)])


def uar_across_sessions(demo: Path, bands: int) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import recall_score
    from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = table(demo / "labels.csv")
    features = np.array([log_mel(demo / row["path"], bands) for row in rows])
    labels = [row["emotion"] for row in rows]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    sessions = [row["session"] for row in rows]
    guessed = cross_val_predict(model, features, labels, groups=sessions, cv=LeaveOneGroupOut())
    return float(recall_score(labels, guessed, average="macro"))


def test_a_model_lies_between_chance_and_perfect_and_a_worse_one_lower(demo: Path) -> None:
    good, worse, bad = (uar_across_sessions(demo, bands) for bands in (40, 10, 1))
    assert 0.5 < good < 0.8
    assert bad < worse < good
    assert bad > 0.125
