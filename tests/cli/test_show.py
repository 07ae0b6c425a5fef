"""`ser show`: the table, and what is said of scores that are no longer those of the project."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
import typer
from ruamel.yaml import YAML

from pipeline.cli import main as cli
from pipeline.cli import show
from pipeline.ground import files, params, stage
from pipeline.ground.code import ROOT
from pipeline.ground.errors import PipelineError
from stages import evaluate
from tests.stages.test_evaluate import configure, train


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose scores have just been made; its clips carry checksums, as a stage's do."""
    root = tmp_path_factory.mktemp("evaluated")
    shutil.copy(ROOT / "params.yaml", root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("SER_SCRATCH", str(root / ".scratch"))
        train(root)
        configure(root, cached=["linear"], pretrained=["full"], retrained=["full"])
        files._write_sums(root / "artifacts/clips/demo")
        evaluate.main()
    return root


@pytest.fixture
def evaluated(made: Path, project: Path) -> Iterator[Path]:
    """A copy of it to harm."""
    yield Path(shutil.copytree(made, project, dirs_exist_ok=True))
    params.read.cache_clear()


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines that speak against the scores."""
    params.read.cache_clear()
    capsys.readouterr()
    with pytest.raises(SystemExit) as status:
        cli.app(["show"])
    assert not status.value.code
    out = capsys.readouterr().out
    assert "pretrained full" in out and "report.html" in out
    return [line for line in out.splitlines() if line.startswith("NOT CURRENT: ")]


def change(project: Path, key: str, value: object) -> None:
    yaml = YAML()
    found = yaml.load((project / "params.yaml").read_text("utf-8"))
    *above, last = key.split(".")
    section = found
    for name in above:
        section = section[name]
    section[last] = value
    with (project / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(found, file)


def test_current_scores_are_shown_without_a_word(
    evaluated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys) == []
    change(evaluated, "runtime.threads", 2)  # no score depends on it
    assert shown(capsys) == []


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("finetune.training.epochs", 3, "made with finetune.training.epochs 6, params.yaml has 3"),
        ("seed", 2, "made with seed 1, params.yaml has 2"),
        ("preprocess.trim_db", 30.0, "made with preprocess.trim_db none, params.yaml has 30.0"),
        ("task.emotion.merge", {"excited": "happy"}, "task.emotion.merge.excited none, params."),
    ],
)
def test_a_pending_run_is_told_by_the_key(
    evaluated: Path, key: str, value: object, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(evaluated, key, value)
    (line,) = shown(capsys)
    assert told in line and line.endswith("run `dvc repro`")


def test_artefacts_that_were_made_anew_are_told(
    evaluated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where `preprocess` ran on another corpus, and what follows failed."""
    clips = evaluated / "artifacts/clips/demo"
    (clips / "audit.json").write_text("{}")
    files._write_sums(clips)
    (line,) = shown(capsys)
    assert "results: made from another artifacts/clips/demo than lies there" in line
    shutil.rmtree(clips)  # as in a clone that has pulled nothing
    assert shown(capsys) == []


def test_a_stage_that_failed_since_is_told(
    evaluated: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("take_signals", "ignore_signals"):  # not in the process of the tests
        monkeypatch.setattr(f"pipeline.ground.ending.{name}", lambda: None)

    def preprocess(corpus: Annotated[str, typer.Option()]) -> None:
        if corpus == "bad":
            raise PipelineError("bad: a rule, expected, got, remedy")

    def run(corpus: str) -> None:
        monkeypatch.setattr("sys.argv", ["preprocess", "--corpus", corpus])
        stage.run(preprocess)

    run("good")
    assert shown(capsys) == []
    with pytest.raises(SystemExit):
        run("bad")
    (line,) = shown(capsys)
    assert "since then `test_show --corpus bad` began and has not ended well" in line
    evaluate.main()
    assert shown(capsys) == []


def test_scores_of_an_earlier_version_are_told(
    evaluated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (evaluated / "results/provenance.json").unlink()
    (line,) = shown(capsys)
    assert "results/provenance.json: missing" in line


@pytest.mark.parametrize("width", [60, 80])
def test_long_names_leave_room_for_every_number(width: int) -> None:
    from rich.console import Console

    scores = {"uar": 0.123, "war": 0.234, "f1_macro": 0.345, "eer": 0.456, "uar_95": [0.1, 0.2]}
    console = Console(width=width, record=True, file=io.StringIO())
    name = "a-very-long-name-of-an-encoder-of-somebody"
    console.print(show._table("emotion", [*scores][:4], {name: {"linear": scores}}, {}))
    out = console.export_text()
    assert max(map(len, out.splitlines())) <= width
    for number in ("0.123", "0.234", "0.345", "0.456", "0.100 to 0.200"):
        assert number in out
    assert name in "".join(line.split(" ")[1] for line in out.splitlines() if line.strip())


def test_what_is_left_under_stress_is_one_line_a_classifier(
    evaluated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = evaluated / "results/metrics.json"
    of = [["clean", 0.7], ["noise-0", 0.2], ["telephone", 0.5]]
    linear = {"uar_mean": 0.35, "uar_worst": 0.2, "worst": ["noise-0"], "uar_of": of}
    ccc = {"ccc_mean": 0.1, "ccc_worst": -0.1, "worst": ["noise-0"], "ccc_of": of[:2]}
    stress = {"emotion": {"fbank": {"linear": linear}}, "affect": {"fbank": {"linear": ccc}}}
    files.write_json(path, {**files.read_json(path), "stress": stress})
    params.read.cache_clear()
    with pytest.raises(SystemExit):
        cli.app(["show"])
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("under")]
    assert told == [
        "under stress, emotion fbank linear: UAR 0.700 as recorded, 0.350 over 2 conditions, "
        "0.200 under noise-0",
        "under stress, affect fbank linear: CCC 0.700 as recorded, 0.100 over 1 conditions, "
        "-0.100 under noise-0",
    ]
