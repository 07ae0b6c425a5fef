"""What is lost under conditions, against scikit-learn and by hand; how it is shown."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score

from pipeline.corpora.manifest import Clip
from pipeline.ground import files
from pipeline.inference.stress import answers
from pipeline.metrics import agreement
from pipeline.report.trust import stress_section
from pipeline.scoring.active import Ensemble
from pipeline.scoring.evaluation import Run
from pipeline.scoring.scores import Bootstrap, Scores
from pipeline.scoring.trust import stressed
from pipeline.splits.targets import Emotion, Task, Votes
from pipeline.splits.valued import Dimensions
from tests.recordings import clip
from tests.report.pictures import kept

CLASSES = ["angry", "sad"]
EMOTION = Emotion(target="emotion", classes=CLASSES, merge={})
VOTES = Votes(target="votes", classes=CLASSES, merge={}, votes="primary", undecided="keep")
AFFECT = Dimensions(target="dimensions", dimensions=["arousal"], loss="ccc")
SKILLS = {"clean": 2.0, "noise-20": 1.0, "noise-0": 0.0, "mp3-32": 2.0}
HEADER = ["utterance", "corpus", "speaker", "role"]


def plant(
    root: Path, task: str, of: Task, method: str = "linear", seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Answers of 6 speakers in two folds under each condition; truth and guess of each."""
    rng, found = np.random.default_rng(0), {}
    folder = root / "artifacts/stress" / task / "fbank" / method
    truth, ratings = rng.integers(0, 2, 60), rng.normal(3, 1, 60)
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 1, (60, 2))
    for condition, skill in SKILLS.items():
        logits = noise + skill * np.eye(2)[truth] + rng.normal(0, 0.1, (60, 2))
        guess = skill * ratings / 2 + rng.normal(0, 0.3, 60)
        for fold in (0, 1):
            rows = []
            for n in range(60):
                if n % 6 // 3 != fold:
                    continue
                known = [f"a/{n}", "a", f"a/{n % 6}", "test"]
                if isinstance(of, Dimensions):
                    rows.append([*known, ratings[n], guess[n]])
                    continue
                label = CLASSES[truth[n]] if isinstance(of, Emotion) or n % 5 else ""
                shares = [0.5, 0.5] if isinstance(of, Votes) else []
                rows.append([*known, label, *shares, *logits[n]])
            names = ["true_arousal", "predicted_arousal"]
            if not isinstance(of, Dimensions):
                names = [
                    "label",
                    *(f"true_{c}" for c in CLASSES if isinstance(of, Votes)),
                    *CLASSES,
                ]
            place = folder / condition / str(fold)
            place.mkdir(parents=True)
            # Each classifier in an order of its own.
            order = np.random.default_rng(seed).permutation(len(rows)).tolist()
            files.write_csv(place / "predictions.csv", [*HEADER, *names], [rows[n] for n in order])
        found[condition] = {"truth": truth, "logits": logits, "ratings": ratings, "guess": guess}
    counts = {name: {"samples": 1000, "clipped": 25 * k} for k, name in enumerate(SKILLS)}
    (folder / "conditions.json").write_text(json.dumps(counts))
    return found


def scored(task: str, of: Task) -> dict[str, Scores]:
    conditions = [name for name in SKILLS if name != "clean"]
    found = stressed.score(
        {(task, "fbank", "linear"): [0, 1]}, {}, {task: of}, conditions, Bootstrap(300, 0)
    )
    return dict(found[task]["fbank"]["linear"])


@pytest.mark.parametrize("of", [EMOTION, VOTES], ids=["emotion", "votes"])
def test_scores_are_those_of_the_answers(project: Path, of: Task) -> None:
    planted = plant(project, "mood", of)
    decided = np.arange(60) % 5 > 0 if isinstance(of, Votes) else np.ones(60, bool)
    found = scored("mood", of)
    assert list(found) == list(SKILLS)
    clean = planted["clean"]["logits"].argmax(1)
    for number, (condition, one) in enumerate(planted.items()):
        guess, told = one["logits"].argmax(1), found[condition]
        uar, before = (
            balanced_accuracy_score(one["truth"][decided], g[decided]) for g in (guess, clean)
        )
        assert told["uar"] == pytest.approx(uar, abs=1e-4)
        assert told["difference"] == pytest.approx(uar - before, abs=1e-4)
        assert told["changed"] == pytest.approx((guess != clean).mean(), abs=1e-4)
        assert told["clipped"] == pytest.approx(0.025 * number)
        assert told["uar_low"] <= told["uar"] <= told["uar_high"]
        assert told["difference_low"] <= told["difference"] <= told["difference_high"]
    assert found["clean"]["difference"] == found["clean"]["changed"] == 0
    # Paired: what every condition shares is in no interval of a difference.
    assert found["mp3-32"]["difference_high"] - found["mp3-32"]["difference_low"] < 0.1
    assert found["noise-0"]["difference_high"] < 0


def test_dimensions_have_a_concordance_and_no_decisions(project: Path) -> None:
    planted = plant(project, "affect", AFFECT)
    found = scored("affect", AFFECT)
    ccc = {n: agreement.concordance(one["ratings"], one["guess"]) for n, one in planted.items()}
    for condition, told in found.items():
        assert told["ccc"] == pytest.approx(ccc[condition], abs=1e-4)
        assert told["difference"] == pytest.approx(ccc[condition] - ccc["clean"], abs=1e-4)
        assert "changed" not in told
    assert found["noise-0"]["difference_high"] < 0


def test_an_ensemble_averages_what_its_members_said_there(project: Path) -> None:
    """As trained: calibrated by each fold's temperature, weighted; clean clips as they were."""
    scales = {"linear": (0.5, 2.0), "frozen": (3.0, 1.0)}
    planted = {}
    for seed, (method, temperatures) in enumerate(scales.items()):
        planted[method] = plant(project, "mood", EMOTION, method, seed)
        for fold, temperature in enumerate(temperatures):
            place = project / "artifacts/classifiers/mood/fbank" / method / str(fold)
            shutil.copytree(project / f"artifacts/stress/mood/fbank/{method}/clean/{fold}", place)
            cover = {"coverage": 1.0, "confidence": 0.1, "accuracy": 0.5}
            scale = {"temperature": temperature, "utterances": 9, "covers": [cover]}
            (place / "calibration.json").write_text(json.dumps(scale))
    systems = {("mood", "fbank", method): [0, 1] for method in scales}
    members = [f"mood/fbank/{method}" for method in scales]
    row, other = ("mood", "ensemble", "both"), ("mood", "ensemble", "other")
    ensembles = {
        row: Ensemble(members=members, weights="equal"),
        other: Ensemble(members=[members[0], "mood/fbank/crnn"], weights="equal"),
    }
    conditions = [name for name in SKILLS if name != "clean"]
    drawn = Bootstrap(300, 0)
    found = stressed.score(systems, ensembles, {"mood": EMOTION}, conditions, drawn)["mood"]
    assert list(found["ensemble"]) == ["both"]  # one of the other's members was not stressed
    by_fold = np.arange(60) % 6 // 3
    decided = {}
    for condition in SKILLS:
        told = [
            softmax(planted[m][condition]["logits"] / np.array(scales[m])[by_fold][:, None], 1)
            for m in scales
        ]
        truth, guess = planted["linear"][condition]["truth"], np.sum(told, 0).argmax(1)
        decided[condition], one = guess, found["ensemble"]["both"][condition]
        assert one["uar"] == pytest.approx(balanced_accuracy_score(truth, guess), abs=1e-4)
        changed = (guess != decided["clean"]).mean()
        assert one["changed"] == pytest.approx(changed, abs=1e-4)
        assert one["clipped"] == found["fbank"]["linear"][condition]["clipped"]
    assert len(stressed.headline({"mood": found})["mood"]["ensemble"]["both"]) == 4


def test_an_ensemble_of_dimensions_averages_values(project: Path) -> None:
    planted = {}
    for seed, method in enumerate(("linear", "frozen")):
        planted[method] = plant(project, "affect", AFFECT, method, seed)
        shutil.copytree(
            project / f"artifacts/stress/affect/fbank/{method}/clean",
            project / f"artifacts/classifiers/affect/fbank/{method}",
        )
    systems = {("affect", "fbank", method): [0, 1] for method in planted}
    names = [f"affect/fbank/{method}" for method in planted]
    both = {("affect", "ensemble", "both"): Ensemble(members=names, weights="equal")}
    found = stressed.score(systems, both, {"affect": AFFECT}, ["noise-20"], Bootstrap(300, 0))
    for condition in ("clean", "noise-20"):
        guess = np.mean([one[condition]["guess"] for one in planted.values()], 0)
        ccc = agreement.concordance(planted["linear"][condition]["ratings"], guess)
        told = found["affect"]["ensemble"]["both"][condition]
        assert told["ccc"] == pytest.approx(ccc, abs=1e-4)


def test_few_columns_a_table_and_one_picture(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(project, "mood", EMOTION)
    plant(project, "affect", AFFECT)
    nested = {
        "mood": {"fbank": {"linear": scored("mood", EMOTION)}},
        "affect": {"fbank": {"linear": scored("affect", AFFECT)}},
    }
    short = stressed.headline(nested)["mood"]["fbank"]["linear"]
    own = nested["mood"]["fbank"]["linear"]
    assert short["worst"] == ["noise-0"]
    assert short["uar_worst"] == own["noise-0"]["uar"]
    under = [own[n]["uar"] for n in SKILLS if n != "clean"]
    assert short["uar_mean"] == pytest.approx(np.mean(under), abs=1e-4)
    assert short["uar_of"] == [[n, own[n]["uar"]] for n in SKILLS]
    assert sum(not isinstance(value, list) for value in short.values()) == 2
    stressed.write_tables(project, nested)
    with (project / "stress-mood-fbank-linear.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["condition"] for row in rows] == list(SKILLS)
    assert float(rows[2]["uar"]) == own["noise-0"]["uar"]
    figures = kept(monkeypatch)
    about: Scores = {"speaker_independent": True}
    run = Run({}, [], about, [], {}, {}, {"stress": {"voices": 5}}, trust={"stress": nested})
    section = stress_section.section(run, project)
    assert section is not None
    assert [table.caption for table in section.tables] == [
        "mood fbank linear",
        "affect fbank linear",
    ]
    assert [row[0] for row in section.tables[0].rows] == [
        "as recorded", "white noise, 20 dB", "white noise, 0 dB", "MP3, 32 kbit/s"
    ]  # fmt: skip
    assert section.tables[0].rows[0][3:6] == [None, None, None]
    assert section.tables[1].rows[1][5] is None
    first, second = figures["stress.png"].axes
    assert [label.get_text() for label in first.get_yticklabels()][2] == "white noise, 0 dB"
    assert (first.get_xlabel(), second.get_xlabel()) == ("UAR on test", "CCC on test")
    dots = [line.get_xdata()[0] for line in first.lines if line.get_marker() == "o"]  # type: ignore[index]
    assert dots == [own[name]["uar"] for name in SKILLS]
    assert stress_section.section(Run({}, [], about, [], {}, {}, {}), project) is None


def clips() -> list[Clip]:
    """Two utterances, the first of two clips, and one of another role."""
    names = [("u1#0", "u1"), ("u1#1", "u1"), ("u2", "u2"), ("u3", "u3")]
    return [clip(name, utterance=f"toy/{utterance}") for name, utterance in names]


@pytest.mark.parametrize("columns", [["angry", "sad"], ["predicted_x", "predicted_y"]])
def test_answers_are_means_over_an_utterance_in_the_place_of_the_old_ones(
    tmp_path: Path, columns: list[str]
) -> None:
    header, rows = [*HEADER, "label", *columns], []
    for name, role in (("u1", "test"), ("u2", "test"), ("u3", "dev")):
        rows.append([f"toy/{name}", "toy", "toy/s1", role, "sad", 1, 2])
    files.write_csv(tmp_path / "predictions.csv", header, rows)
    roles = {c.clip: "dev" if c.utterance == "toy/u3" else "test" for c in clips()}
    found, own = answers.tested(tmp_path, clips(), roles)
    assert [c.clip for c in own] == ["toy/u1#0", "toy/u1#1", "toy/u2"]
    outputs = np.array([[1, 5], [3, 6], [7, 8]], np.float32)
    target = tmp_path / "again"
    target.mkdir()
    answers.write(target, found, own, columns, outputs)
    with (target / "predictions.csv").open(encoding="utf-8", newline="") as file:
        told = list(csv.DictReader(file))
    assert [[row[c] for c in columns] for row in told] == [["2", "5.5"], ["7", "8"]]
    assert [(row["utterance"], row["label"]) for row in told] == [
        ("toy/u1", "sad"), ("toy/u2", "sad")
    ]  # fmt: skip
    with pytest.raises(Exception, match=r"predictions\.csv: toy/u2 is not tested in this fold"):
        answers.tested(tmp_path, clips()[:2], roles)
