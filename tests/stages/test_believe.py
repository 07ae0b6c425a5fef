"""What `evaluate` says beside scores: ensembles, doubted labels, a share of the speakers."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.cli import show
from pipeline.corpora.manifest import EMOTIONS
from pipeline.ground import files, params
from pipeline.ground.errors import PipelineError
from pipeline.scoring import lists
from stages import evaluate
from tests.results import Study, plant, plant_classifier, plant_ratings

STUDY = Study()
BOTH = ["emotion/fbank/linear", "emotion/pretrained/full"]


def edit(change: Callable[[Any], None]) -> None:
    yaml, path = YAML(), Path("params.yaml")
    found = yaml.load(path.read_text("utf-8"))
    change(found)
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(found, file)
    params.read.cache_clear()


def base(found: Any) -> None:
    """Two classifiers, and nothing else."""
    methods = {"cached": ["linear"], "pretrained": ["full"], "retrained": []}
    found |= {"corpora": ["demo"], "features": ["fbank"], "methods": methods, "adapted": []}
    found["tasks"]["cached"] = ["emotion"]
    found["probe"]["features"], found["networks"]["features"] = [], []


def ensemble(members: list[str], weights: str = "equal", name: str = "both") -> None:
    told = {name: {"members": members, "weights": weights}}
    edit(lambda found: found["evaluate"].update(ensembles=told))


@pytest.fixture
def trained(project: Path) -> Path:
    edit(base)
    plant(project, STUDY)
    for seed, name in enumerate(BOTH):
        plant_classifier(project, STUDY, name.removeprefix("emotion/"), 1.0, seed)
    return project


def published(name: str = "metrics") -> Any:
    return json.loads(Path(f"results/{name}.json").read_text())


def page() -> str:
    return Path("results/report.html").read_text("utf-8")


def test_an_ensemble_is_a_row_like_any_other(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.main()
    before = published()
    ensemble(BOTH)
    evaluate.main()
    row = published()["emotion"].pop("ensemble")["both"]
    assert list(row) == [
        "uar", "war", "f1_macro", "eer", "ece_calibrated", "gain", "gain_p",
        "uar_95", "uar_mean_sd", "gain_95",
    ]  # fmt: skip
    assert row["uar"] > max(before["emotion"][s][m]["uar"] for s, m in (
        ("fbank", "linear"), ("pretrained", "full")))  # fmt: skip
    rest = published()
    rest["emotion"].pop("ensemble")
    assert "gender_uar_gap_p" in rest["fairness"]["emotion"].pop("ensemble")["both"]
    assert rest == before
    told = published("scores")["emotion"]["ensemble"]["both"]["ensemble"]
    assert told["members"] == BOTH and told["best_on"] == "dev"
    assert Path("results/tables/confusion-emotion-ensemble-both.csv").is_file()
    assert Path("results/plots/confusion-emotion-ensemble-both.png").is_file()
    for words in (
        '<h2 id="fusion">',
        "<td>ensemble both</td>",
        "<td>pretrained full</td><td>equal",
    ):
        assert words in page()
    show.main()
    assert "ensemble both" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("members", "said"),
    [
        (["emotion/fbank/linear", "emotion/fbank/svm"], "'emotion/fbank/svm', which is no active"),
        (["emotion/fbank/linear", "linear"], "'linear', which is no active system, use of:"),
        (["emotion/fbank/linear", "emotion/fbank/linear/0"], "linear/0', which is no active"),
        (["emotion/fbank/linear"] * 2, "ensembles.both has 'emotion/fbank/linear' twice"),
        (["emotion/fbank/linear"], "ensembles.both.members must"),
        (["emotion/fbank/linear", "emotion/retrained/full"],
         "'emotion/retrained/full' of folds 1 and 'emotion/fbank/linear' of 0, 1"),
        (["emotion/fbank/linear", "heard/fbank/linear"], "which are of two tasks"),
    ],
)  # fmt: skip
def test_a_member_that_cannot_be_averaged_is_named(
    trained: Path, members: list[str], said: str
) -> None:
    def more(found: Any) -> None:
        found["methods"]["retrained"], found["adapted"] = ["full"], [1]
        found["tasks"]["cached"] = ["emotion", "heard"]

    edit(more)
    ensemble(members)
    with pytest.raises(PipelineError, match=re.escape(said)) as caught:
        lists.check()
    assert "\n" not in str(caught.value) and str(caught.value).startswith("params.yaml: evaluate.")


@pytest.mark.parametrize("name", ["a/b", "", "7", "../x"])
def test_a_name_that_is_no_folder_is_refused(trained: Path, name: str) -> None:
    ensemble(BOTH, name=name)
    with pytest.raises(PipelineError, match="expected a name of letters"):
        lists.check()


def test_an_encoder_called_ensemble_would_take_the_rows_place(trained: Path) -> None:
    def rename(found: Any) -> None:
        found["encoder"]["ensemble"] = found["encoder"]["fbank"]
        found["encoders"].append("ensemble")

    edit(rename)
    lists.check()
    ensemble(BOTH)
    with pytest.raises(PipelineError, match="encoders has 'ensemble'"):
        lists.check()


def mislabel(trained: Path, utterance: str) -> tuple[str, str]:
    """Give an utterance another label than the one that both classifiers are sure of."""
    label, other = "", ""
    for name in BOTH:
        for fold in (0, 1):
            path = trained / "artifacts/classifiers" / name / str(fold) / "predictions.csv"
            rows = files.read_csv(path)
            for row in (row for row in rows if row["utterance"] == utterance):
                label = label or row["label"]
                other = EMOTIONS[EMOTIONS.index(label) - 1]
                row.update(dict.fromkeys(EMOTIONS, "-5") | {label: "5", "label": other})
            files.write_csv(path, list(rows[0]), [list(row.values()) for row in rows])
    return label, other


def test_a_label_that_all_dispute_comes_first_with_a_player_and_without_a_name(
    trained: Path,
) -> None:
    heard, label = mislabel(trained, "demo/u00042")
    audio = trained / "artifacts/clips/demo/u00042.flac"
    audio.write_bytes(b"fLaC and more")
    evaluate.main()
    text = page()
    first = text[text.index("<h3>Disputed labels") :].split("<tr>")[2]
    player = '<td><audio controls preload="none" src="listen/emotion-1.flac">'
    assert first.startswith(f"<td>1</td>{player}")
    assert f"<td>{label}</td><td>{heard}</td>" in first and "<td>2 of 2</td>" in first
    assert re.search(r"<td>speaker \d</td>", first)
    assert "u00042" not in text and "demo/2" not in text
    assert Path("results/listen/emotion-1.flac").read_bytes() == audio.read_bytes()
    assert re.search(r"\d+ recordings are not here", text)
    with Path("results/tables/doubts-emotion.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["utterance"] == "demo/u00042" and rows[0]["disputed"] == "yes"
    assert [row["number"] for row in rows] == [str(n) for n in range(1, len(rows) + 1)]
    assert rows[0]["label"] == label and rows[0]["other"] == heard


def test_old_recordings_do_not_stay(trained: Path) -> None:
    mislabel(trained, "demo/u00042")
    audio = trained / "artifacts/clips/demo/u00042.flac"
    audio.write_bytes(b"fLaC and more")
    evaluate.main()
    before = {p.name: p.read_bytes() for p in Path("results").rglob("*") if p.is_file()}
    evaluate.main()
    assert before == {p.name: p.read_bytes() for p in Path("results").rglob("*") if p.is_file()}
    audio.unlink()
    evaluate.main()
    assert list(Path("results/listen").iterdir()) == []


def test_without_classifiers_there_is_nothing_to_doubt(trained: Path) -> None:
    edit(lambda found: found.update(methods={key: [] for key in found["methods"]}))
    shutil.rmtree("artifacts/classifiers")
    evaluate.main()
    assert "Worth listening" not in page() and not list(Path("results/listen").iterdir())


def test_a_share_of_the_training_speakers_is_said_wherever_scores_stand(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.main()
    assert "train_share" not in published()["protocol"]
    edit(lambda found: found["split"].update(train_share=0.5))
    path = Path("artifacts/folds.csv")
    gone = {c.clip for c in STUDY.clips() if c.speaker in ("demo/0", "demo/7")}
    kept = [
        line
        for line in path.read_text().splitlines()
        if not (line.endswith(",train") and line.split(",")[1] in gone)
    ]
    path.write_text("\n".join(kept) + "\n")
    evaluate.main()
    assert published()["protocol"]["train_share"] == 0.5
    assert published("scores")["protocol"]["train_speakers"] == [3, 3]
    assert "Trained on 50% of the training speakers alone: a fold has 3 of them" in page()
    show.main()
    assert "trained on 50% of the training speakers" in capsys.readouterr().out


def test_an_ensemble_of_dimensions_stands_beside_its_members(trained: Path) -> None:
    plant_ratings(trained, STUDY, "dimensions", "affect")
    affect = trained / "artifacts/classifiers/affect"
    shutil.copytree(affect / "fbank", affect / "tiny")

    def more(found: Any) -> None:
        found["features"] = ["fbank", "tiny"]
        found["tasks"]["cached"], found["methods"]["pretrained"] = ["affect"], []

    edit(more)
    ensemble(["affect/fbank/linear", "affect/tiny/linear"], "dev")
    lists.check()
    evaluate.main()
    rows = published()["affect"]
    # Of two that say the same, the average says it too.
    same = {name: rows["ensemble"]["both"][name] for name in rows["tiny"]["linear"]}
    assert same == rows["tiny"]["linear"] and rows["ensemble"]["both"]["gain"] == 0
    assert Path("results/plots/dimensions-affect-ensemble-both.png").is_file()
    assert "Worth listening" not in page()
