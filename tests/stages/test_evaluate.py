"""The stage `evaluate` on planted predictions: what it reads, writes and leaves out."""

import csv
import importlib.metadata
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipeline.ground import runs
from pipeline.ground.errors import PipelineError
from pipeline.ground.files import sha256
from pipeline.ground.provenance import Provenance
from pipeline.splits import folds
from stages import evaluate
from tests.conftest import ROOT
from tests.graph import STAGES, params_of
from tests.results import (
    Study,
    plant,
    plant_classifier,
    plant_probe,
    plant_ratings,
    plant_share,
    plant_units,
)

STUDY = Study()
SYSTEMS = {
    "fbank/linear": 1.5,
    "pretrained/full": 1.0,
    "pretrained/lora-qkv": 0.5,
    "retrained/full": 2.0,
}


def train(project: Path) -> None:
    plant(project, STUDY)
    for seed, (system, skill) in enumerate(SYSTEMS.items()):
        plant_classifier(project, STUDY, system, skill, seed)
    plant_share(project, STUDY, "fbank/cnn-lstm-attention")
    plant_units(project)
    plant_probe(project, STUDY, "fbank")


@pytest.fixture
def trained(project: Path) -> Path:
    """A project whose classifiers and regressors have just been trained."""
    train(project)
    configure(project, cached=["linear"], pretrained=["full"], retrained=["full"])
    return project


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same project after the stage ran, for tests that only look."""
    root = tmp_path_factory.mktemp("evaluate")
    (root / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    train(root)
    configure(root, cached=["linear"], pretrained=["full", "lora-qkv"], retrained=["full"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        evaluate.main()
    return root


@pytest.fixture
def copied(evaluated: Path, project: Path) -> Path:
    """A copy of it to harm."""
    return Path(shutil.copytree(evaluated, project, dirs_exist_ok=True))


def metrics(project: Path) -> Any:
    return json.loads((project / "results/metrics.json").read_text())


def configure(project: Path, **methods: list[str]) -> None:
    """Set the active lists, whatever the committed params.yaml has."""
    path = project / "params.yaml"
    yaml = YAML()
    params = yaml.load(path.read_text("utf-8"))
    params |= {"corpora": ["demo"], "features": ["fbank"], "methods": methods}
    params |= {"folds": [0, 1], "adapted": [0, 1]}
    params["tasks"]["cached"] = ["emotion"]
    params["probe"]["features"] = ["fbank"]
    params["networks"] |= {"features": ["fbank"], "methods": ["cnn-lstm-attention"]}
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(params, file)


def test_every_active_system_has_few_figures_beside_its_protocol(evaluated: Path) -> None:
    found = metrics(evaluated)
    assert {f"{s}/{m}" for s, ms in found["emotion"].items() for m in ms} == set(SYSTEMS)
    assert found["protocol"] == {
        "speaker_independent": True,
        "folds": 2,
        "emotion_speakers": 8,
        "share_speakers": 8,
    }
    emotion = found["emotion"]["pretrained"]["full"]
    assert list(emotion) == [
        *("uar", "war", "f1_macro", "eer", "ece_calibrated"),
        *("uar_95", "uar_mean_sd"),
    ]
    low, high = emotion["uar_95"]
    assert low < emotion["uar"] < high
    everything = json.loads((evaluated / "results/scores.json").read_text())
    assert everything["emotion"]["pretrained"]["full"]["uar_low"] == low
    skills = [found["emotion"][s][m]["uar"] for s, m in (name.split("/") for name in SYSTEMS)]
    assert np.argsort(skills).tolist() == np.argsort(list(SYSTEMS.values())).tolist()
    share = found["share"]["fbank"]["cnn-lstm-attention"]
    pairs = ["ccc_95", "ccc_mean_sd", "rho_95"]
    assert list(share) == ["rho", "ccc", "pearson", "mae", *pairs]
    assert share["rho"] > 0.2


def test_what_is_no_longer_active_does_not_leak_in(copied: Path) -> None:
    before = {p: sha256(p) for p in sorted((copied / "results").rglob("*")) if p.is_file()}
    for system in ("pretrained/frozen", "mfcc/linear"):
        plant_classifier(copied, STUDY, system, skill=9.0)
    shutil.copytree(
        copied / "artifacts/classifiers/emotion/pretrained/frozen/0",
        copied / "artifacts/classifiers/emotion/pretrained/full/2",
    )
    plant_share(copied, STUDY, "mfcc/cnn-lstm")
    evaluate.main()
    after = {p: sha256(p) for p in sorted((copied / "results").rglob("*")) if p.is_file()}
    assert after == before


def test_the_confusion_table_adds_up(evaluated: Path) -> None:
    path = evaluated / "results/tables/confusion-emotion-retrained-full.csv"
    rows = list(csv.DictReader(path.open(encoding="utf-8", newline="")))
    assert sum(int(row["count"]) for row in rows) == 128
    hits = sum(int(row["count"]) for row in rows if row["truth"] == row["predicted"])
    assert metrics(evaluated)["emotion"]["retrained"]["full"]["war"] == round(hits / 128, 4)
    angry = [float(row["percent_of_truth"]) for row in rows if row["truth"] == "angry"]
    assert sum(angry) == pytest.approx(100, abs=0.05)


def test_every_picture_is_drawn(evaluated: Path) -> None:
    assert sorted(p.name for p in (evaluated / "results/plots").iterdir()) == [
        "comparison-emotion.png",
        "confusion-emotion-fbank-linear.png",
        "confusion-emotion-pretrained-full.png",
        "confusion-emotion-pretrained-lora-qkv.png",
        "confusion-emotion-retrained-full.png",
        "corpus-demo.png",
        "embeddings-fbank.png",
        "layers.png",
        "learning-emotion-pretrained-full.png",
        "learning-emotion-pretrained-lora-qkv.png",
        "learning-emotion-retrained-full.png",
        "learning-share-fbank-cnn-lstm-attention.png",
        "reliability.png",
        "share-architectures.png",
        "share-fbank-cnn-lstm-attention.png",
        "units.png",
    ]


def test_units_are_averaged_over_folds_in_few_columns(evaluated: Path) -> None:
    assert metrics(evaluated)["units"] == {
        "16": {"inertia": 0.5, "nmi_emotion": 0.0165, "nmi_gender": 0.0165},
        "64": {"inertia": 0.5, "nmi_emotion": 0.0645, "nmi_gender": 0.0645},
    }
    text = (evaluated / "results/report.html").read_text("utf-8")
    row = "<td>64</td><td>{}</td><td>{}</td><td>0.645</td><td>0.250</td>"
    assert row.format("train", "gender") in text
    assert "<td>64</td><td>dev</td><td>emotion</td>" in text
    assert "<td>64</td><td>dev</td><td>gender</td>" not in text
    assert "<td>speaker</td>" not in text


class Page(HTMLParser):
    """Collects what a browser would load, and checks that tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "srcset")]
        links = [value or "" for name, value in attrs if name == "href"]
        assert all(link.startswith("#") for link in links)
        assert tag not in ("script", "link", "iframe")
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_one_self_contained_page(evaluated: Path) -> None:
    text = (evaluated / "results/report.html").read_text("utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert len(page.loads) == 16
    assert all(load.startswith("data:image/png;base64,") for load in page.loads)
    style = text[text.index("<style>") : text.index("</style>")]
    assert not re.search(r"url\(|@import|https?:", style)
    assert str(metrics(evaluated)["emotion"]["fbank"]["linear"]["uar"])[:5] in text
    assert "speaker 0: &lt;few&gt; utterances" in text
    assert str(evaluated) not in text


def test_the_report_quotes_only_what_the_stage_depends_on() -> None:
    assert tuple(params_of(STAGES["evaluate"])) == evaluate.SETTINGS


def test_the_environment_stands_beside_the_report_and_not_in_it(copied: Path) -> None:
    before = sha256(copied / "results/report.html")
    runs.begin("split")
    Provenance.of(folds.FOLDS, ["seed"], []).write(folds.FOLDS, beside=True)
    runs.record("split", 12.5)
    runs.begin("finetune --fold 7")  # of another experiment
    Provenance.of(Path("artifacts/classifiers/other/7"), ["seed"], [folds.FOLDS])
    runs.record("finetune --fold 7", 2.5)
    evaluate.main()
    assert sha256(copied / "results/report.html") == before
    text = (copied / "results/environment.html").read_text("utf-8")
    assert "split" in text and "12.500" in text
    assert "finetune --fold 7" not in text
    assert importlib.metadata.version("torch") in text


def test_a_shared_speaker_is_said_aloud(trained: Path) -> None:
    path = trained / "artifacts/folds.csv"
    text = path.read_text()
    for row in ("0,demo/u00127", "1,demo/u00000"):
        text = text.replace(f"{row},train", f"{row},test")
    path.write_text(text)
    evaluate.main()
    assert metrics(trained)["protocol"]["speaker_independent"] is False
    assert "not speaker-independent" in (trained / "results/report.html").read_text("utf-8")


def test_predictions_of_other_folds_are_refused(trained: Path) -> None:
    folder = trained / "artifacts/classifiers/emotion/pretrained/full"
    shutil.copy(folder / "1/predictions.csv", folder / "0/predictions.csv")
    with pytest.raises(
        PipelineError, match=r"full/0/predictions\.csv: demo/u00064 is tested there"
    ):
        evaluate.main()


def test_branches_may_be_off(trained: Path) -> None:
    configure(trained, cached=[], pretrained=[], retrained=[])
    evaluate.main()
    assert metrics(trained)["emotion"] == {}
    assert sorted(p.name for p in (trained / "results/plots").iterdir()) == [
        "corpus-demo.png",
        "embeddings-fbank.png",
        "layers.png",
        "learning-share-fbank-cnn-lstm-attention.png",
        "share-architectures.png",
        "share-fbank-cnn-lstm-attention.png",
        "units.png",
    ]


def test_without_folds_there_are_no_classifiers(trained: Path) -> None:
    path = trained / "params.yaml"
    params = YAML().load(path.read_text("utf-8")) | {"folds": [], "adapted": []}
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(params, file)
    evaluate.main()
    assert not {"emotion", "share"} & metrics(trained).keys()


def test_a_missing_fold_leaves_old_results_untouched(copied: Path) -> None:
    before = sha256(copied / "results/metrics.json")
    (copied / "artifacts/classifiers/emotion/retrained/full/1/predictions.csv").unlink()
    with pytest.raises(PipelineError, match=r"retrained/full/1/predictions\.csv: no such file"):
        evaluate.main()
    assert sha256(copied / "results/metrics.json") == before


def test_votes_and_dimensions_have_sections_and_columns_of_their_own(trained: Path) -> None:
    plant_ratings(trained, STUDY, "votes", "heard")
    plant_ratings(trained, STUDY, "dimensions", "affect")
    path = trained / "params.yaml"
    params = YAML().load(path.read_text("utf-8"))
    params["tasks"]["cached"] = ["emotion", "heard", "affect"]
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(params, file)
    evaluate.main()
    found = metrics(trained)
    assert set(found["affect"]["fbank"]["linear"]) == {
        "ccc", "pearson", "mae", "ccc_95", "ccc_mean_sd"
    }  # fmt: skip
    assert set(found["heard"]["fbank"]["linear"]) == {
        "uar", "war", "f1_macro", "js", "ece_calibrated", "uar_95", "uar_mean_sd"
    }  # fmt: skip
    assert found["protocol"]["affect_speakers"] == found["protocol"]["heard_speakers"]
    everything = json.loads((trained / "results/scores.json").read_text())
    of = everything["affect"]["fbank"]["linear"]["of"]
    assert of["arousal"]["ccc"] > 0.9 > of["valence"]["ccc"] > 0.3
    assert everything["heard"]["fbank"]["linear"]["undecided"] == 32
    assert everything["heard"]["fbank"]["linear"]["ece_calibrated"] == "uncalibrated"
    assert "ece" not in everything["affect"]["fbank"]["linear"]
    page = (trained / "results/report.html").read_text("utf-8")
    for words in ('<h2 id="affect">', "CCC by speaker", '<h2 id="heard">', "Jensen-Shannon"):
        assert words in page
    assert "demo/0" not in page  # speakers are numbers there
    drawn = {path.name for path in (trained / "results/plots").iterdir()}
    assert {"dimensions-affect-fbank-linear.png", "confusion-heard-fbank-linear.png"} <= drawn
