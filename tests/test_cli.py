"""The `ser` command on a small project with real DVC experiments."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import main as cli
from pipeline.sources import ROOT
from tests.results import Study, plant_classifier

DVC_YAML = """
stages:
  train:
    cmd: python -c "import shutil; shutil.copytree('given', 'artifacts/classifiers')"
    deps: [given]
    outs: [artifacts/classifiers]
"""


def shell(project: Path, *words: str) -> None:
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(project)}
    subprocess.run(words, cwd=project, check=True, env=environment, capture_output=True)


@pytest.fixture
def repository(project: Path) -> Path:
    """Two commits, `weak` and `strong`, whose predictions lie in DVC's cache alone."""
    (project / "dvc.yaml").write_text(DVC_YAML)
    (project / ".gitignore").write_text("/artifacts/\n")
    shell(project, "git", "init", "-q")
    shell(project, "git", "config", "user.email", "someone@example.org")
    shell(project, "git", "config", "user.name", "Someone")
    shell(project, "dvc", "init", "-q")
    for tag, skill in (("weak", 0.5), ("strong", 2.0)):
        plant_classifier(project / "planted", Study(), "fbank/linear", skill)
        (project / "given").mkdir(exist_ok=True)
        shell(project, "cp", "-r", "planted/artifacts/classifiers/fbank", "given")
        shell(project, "dvc", "repro", "-q")
        shell(project, "git", "add", ".")
        shell(project, "git", "commit", "-qm", tag)
        shell(project, "git", "tag", tag)
    shell(project, "rm", "-r", "artifacts", "given")
    return project


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as status:
        cli.app(words)
    return int(status.value.code or 0)


def linear_only(project: Path) -> None:
    """Leave one method active, whatever the committed params.yaml has."""
    from ruamel.yaml import YAML

    yaml = YAML()
    params = yaml.load((project / "params.yaml").read_text("utf-8"))
    methods = {"cached": ["linear"], "pretrained": [], "retrained": []}
    params |= {"features": ["fbank"], "folds": [0, 1], "methods": methods}
    with (project / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)


@pytest.fixture
def linear(project: Path) -> None:
    linear_only(project)


@pytest.mark.usefixtures("linear")
def test_compare_reads_both_revisions_from_the_cache(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("compare", "weak", "strong") == 0
    out = capsys.readouterr().out
    assert "fbank linear: UAR 0.2" in out
    assert "128 utterances, 8 speakers" in out
    assert "exact sign-flip p 0.0078" in out  # 2 / 2^8
    assert out.count("(+") >= 7

    assert run("compare", "weak", "nowhere") == 1
    error = capsys.readouterr().err
    assert error.startswith("nowhere: ") and error.count("\n") == 1


def test_sub_commands_load_nothing_heavy() -> None:
    code = (
        "import sys; from pipeline.cli import main\n"
        "try: main.app(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'numpy', 'dvc', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
