"""Scores on a corpus that the encoder met before carry a star in every table, and others none."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.cli import main as cli
from pipeline.encoders.hub import Pin
from pipeline.ground import params
from pipeline.ground.errors import PipelineError
from pipeline.ground.provenance import Provenance
from pipeline.scoring import trained_on
from stages import evaluate, plan
from tests.stages.test_evaluate import configure, train

REMARK = "* its encoder was trained on demo, so that this is no score on unseen speech"


def told(project: Path, names: list[str]) -> None:
    """Say in params.yaml that the features of one system were trained on corpora."""
    yaml = YAML()
    found = yaml.load((project / "params.yaml").read_text("utf-8"))
    found["encoder"]["fbank"]["trained_on"] = names
    with (project / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(found, file)
    params.read.cache_clear()


@pytest.fixture
def project_of(project: Path) -> Path:
    """Systems on `fbank` and on others, each carrying what it was made with."""
    train(project)
    configure(project, cached=["linear"], pretrained=["full"], retrained=["full"])
    return project


def scored(project: Path, names: list[str]) -> None:
    told(project, names)
    artifacts = Path("artifacts")
    for folder in (
        "classifiers/emotion/fbank/linear/0",
        "classifiers/share/fbank/cnn-lstm-attention/0",
        "probes/emotion/fbank",
    ):
        made = Provenance.of(artifacts / folder, ["encoder.fbank", "corpus.demo"], [])
        made.write(artifacts / folder)
    other = artifacts / "classifiers/emotion/pretrained/full/0"
    Provenance.of(other, ["encoder.tiny", "corpus.demo"], []).write(other)
    evaluate.main()


def cells(page: str) -> list[str]:
    """Every cell of every table."""
    return re.findall(r"<t[dh][^>]*>([^<]*)<", page)


def test_every_table_marks_them(project_of: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scored(project_of, ["demo"])
    metrics = json.loads(Path("results/metrics.json").read_text("utf-8"))
    systems = {"fbank linear", "fbank cnn-lstm-attention", "fbank probe"}
    assert metrics["protocol"]["trained_on"] == {name: ["demo"] for name in systems}
    page = Path("results/report.html").read_text("utf-8")
    found = cells(page)
    assert found.count("fbank linear *") >= 2 and "fbank linear" not in found
    assert found.count("fbank *") >= 3 and "fbank" not in found  # shares and layers
    assert "pretrained full" in found and "pretrained full *" not in found
    assert page.count(REMARK) >= 4
    with Path("results/tables/share-emotions.csv").open(encoding="utf-8") as file:
        assert next(csv.DictReader(file))["features"] == "fbank *"
    capsys.readouterr()
    with pytest.raises(SystemExit):
        cli.app(["show"])
    out = capsys.readouterr().out
    assert "fbank linear *" in out and "pretrained full *" not in out
    assert out.splitlines().count(REMARK) == 1


@pytest.mark.parametrize("names", [["iemocap"], []])
def test_other_corpora_mark_nothing(project_of: Path, names: list[str]) -> None:
    scored(project_of, names)
    assert (
        "trained_on" not in json.loads(Path("results/metrics.json").read_text("utf-8"))["protocol"]
    )
    page = Path("results/report.html").read_text("utf-8")
    assert "its encoder was trained on" not in page
    assert not any(cell.endswith("*") for cell in cells(page))


def test_a_corpus_is_known_by_its_name_and_by_its_parser() -> None:
    corpora = {"mine": "iemocap", "iemocap-copy": "table", "emodb": "emodb"}
    entries: list[dict[str, Any]] = [{"kind": "hub", "trained_on": ["iemocap"]}, {"kind": "tiny"}]
    assert trained_on.met(corpora, entries) == ["mine"]
    assert trained_on.met(corpora, [{"trained_on": ["iemocap-copy", "emodb"]}]) == [
        "emodb",
        "iemocap-copy",
    ]
    assert trained_on.met(corpora, [{}]) == []


def test_plan_says_it_before_anything_is_computed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "data/raw/demo").mkdir(parents=True)
    told(project, ["demo"])
    plan.main()
    assert "fbank: was trained on demo, its scores there are marked" in capsys.readouterr().err
    told(project, [])
    plan.main()
    assert "was trained on" not in capsys.readouterr().err


def test_the_entry_is_checked(project: Path) -> None:
    assert params.load("encoder.hubert-large-superb-er", Pin).trained_on == ["iemocap"]
    assert params.load("encoder.hubert-base", Pin).trained_on == []
    path = project / "params.yaml"
    text = path.read_text("utf-8")
    for bad in (
        "    trained_on: iemocap\n",
        "    trained_on:\n    - 5\n",
        "    trained_on:\n    - a b\n",
    ):
        path.write_text(text.replace("    trained_on:\n    - iemocap\n", bad), "utf-8")
        params.read.cache_clear()
        with pytest.raises(PipelineError, match=r"encoder\.hubert-large-superb-er\.trained_on"):
            params.load("encoder.hubert-large-superb-er", Pin)
