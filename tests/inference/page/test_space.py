"""`ser export --space`: a folder that serves a page by what lies in it."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx
import pytest
from ruamel.yaml import YAML

from pipeline.cli import export
from pipeline.ground.code import ROOT
from pipeline.inference import judge, passport
from pipeline.inference.page import space
from tests.inference.page.served import asked, model_of, serving
from tests.inference.page.test_running import predicted
from tests.patience import PATIENCE_S
from tests.recordings import record, tone


@pytest.fixture
def made(project: Path) -> Path:
    export.main(model_of(project), project / "space", as_space=True)
    return project / "space"


def test_it_names_what_the_hub_needs(made: Path) -> None:
    head, text = (made / "README.md").read_text().split("---\n")[1:]
    told = YAML(typ="safe").load(head)
    pins = dict(line.split("==") for line in (made / "requirements.txt").read_text().split())
    assert (told["sdk"], told["sdk_version"]) == ("gradio", pins["gradio"])
    assert (made / told["app_file"]).is_file()
    assert len(told["short_description"]) <= 60  # the hub's limit
    model = passport.require(made / "model")
    assert ", ".join(model.classes) in text
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*declared["dependencies"], *declared["optional-dependencies"]["web"]]
    assert len(pins) == len({one.split(">")[0] for one in needed}) + 1  # and silero-vad
    assert [path.suffix for path in made.iterdir()].count(".whl") == 1
    judge.load(made / "model", "cpu")


def test_a_classifier_of_the_project_becomes_one_at_once(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "write", lambda out, told: None)
    model_of(project)
    export.main(Path("m"), project / "space", as_space=True)
    assert passport.require(project / "space/model") == passport.require(project / "model")
    assert sorted(path.name for path in (project / "space").iterdir()) == ["examples", "model"]


def test_it_serves_itself_from_any_folder(web: None, made: Path, tmp_path: Path) -> None:
    """By its own wheel: no other `ser_pipeline` is on the path, and nothing is fetched."""
    moved, elsewhere = tmp_path / "moved", tmp_path / "elsewhere"
    made.rename(moved)
    elsewhere.mkdir()
    (elsewhere / "ser_pipeline.py").write_text("raise SystemExit('not the wheel')")
    file = record(tmp_path / "talk.wav", tone(1.2))
    with serving([sys.executable, moved / "app.py"], at=elsewhere, GRADIO_SERVER_PORT="0") as (
        address,
        process,
    ):
        answer = asked(address, file)
        examples = httpx.get(f"{address}/config", timeout=PATIENCE_S).text
        process.terminate()
        assert process.wait() == 0
    assert answer["json"] == predicted(file, moved / "model", "--json", "--threads", "0")
    assert "a woman, emotions change" in examples
    assert list(elsewhere.iterdir()) == [elsewhere / "ser_pipeline.py"]
    program = "import sys; sys.path.insert(0, sys.argv[1]); import ser_pipeline as s; print(s)"
    (wheel,) = moved.glob("*.whl")
    command = [sys.executable, "-c", program, str(wheel)]
    done = subprocess.run(command, cwd="/", env=os.environ, capture_output=True, check=True)
    assert str(wheel).encode() in done.stdout
