"""The wheel: one top-level package, and all that a trained model needs, in an empty environment."""

import ast
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hatch_build import renamed
from pipeline.audio.segments import Cutting
from pipeline.cli import export
from pipeline.ground.code import ROOT
from pipeline.methods import preprocessing
from tests.methods.test_classifier import saved, trained
from tests.recordings import record, tone
from tests.speech import small_encoder


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `python -m build` makes: the source, and the wheel made of that."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "-o", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture
def model(project: Path) -> Path:
    folder = saved(trained(small_encoder(project / "artifacts/encoders/tiny"), "full"), Path("m"))
    preprocessing.write(folder, Cutting(max_clip_s=0.5, last_clip="shorter", trim_db=None))
    export.main(folder, project / "model")
    record(project / "a.wav", tone(1.2))
    return project / "model"


def wheel_of(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


def test_the_index_would_take_both(dist: Path) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, dist.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


def test_it_stands_in_no_ones_way(dist: Path) -> None:
    """One name of its own in site-packages, and no module that asks for another of ours."""
    with zipfile.ZipFile(wheel_of(dist)) as wheel:
        names = wheel.namelist()
        assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {
            "ser_pipeline"
        }
        assert "ser_pipeline/py.typed" in names
        modules = [name for name in names if name.endswith(".py")]
        ours = {path.relative_to(ROOT) for path in ROOT.joinpath("pipeline").rglob("*.py")}
        assert {Path("ser_pipeline", path) for path in ours} <= set(map(Path, names))
        asked = set()
        for name in modules:
            for node in ast.walk(ast.parse(wheel.read(name))):
                if isinstance(node, ast.Import):
                    asked |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    assert not node.level, name
                    asked.add(str(node.module))
    roots = {name.split(".")[0] for name in asked}
    assert "ser_pipeline" in roots
    assert not roots & {"pipeline", "stages", "tests", "benchmarks"}


@pytest.mark.parametrize(
    "source",
    [
        "import pipeline.ground.files\n",
        "from pipeline import ground\n",
        "from stages import plan\n",
        "def f():\n    import tests.toy\n",
        "import os; from pipeline.ground import files\n",
    ],
)
def test_what_cannot_be_renamed_fails_the_build(source: str) -> None:
    with pytest.raises(ValueError, match=r"m\.py: line \d: write `from pipeline\.x import y`"):
        renamed(source, "m.py")


def test_text_and_likenesses_stay() -> None:
    source = '"""of pipeline.x"""\nfrom pipelines.x import a\nfrom sklearn.pipeline import b\n'
    assert renamed(source, "m.py") == source
    inner = "if x:\n    from pipeline.a.b import (  # why\n        c,\n    )\n"
    assert renamed(inner, "m.py") == inner.replace("pipeline", "ser_pipeline.pipeline")


USE = """
import sys, numpy, ser_pipeline
model = ser_pipeline.load(sys.argv[1])
heard = ser_pipeline.predict(model, sys.argv[2])
print(sorted(heard.whole.probabilities) == sorted(model.classes), len(heard.clips))
print([name for name in ("stages", "dvc", "peft", "matplotlib", "librosa")
       if name in sys.modules])
import pipeline
print(pipeline.__file__)
"""


def require_use(python: Path, model: Path, place: Path, environment: dict[str, str]) -> None:
    """`ser predict` and the API say the same in a folder with a ``pipeline.py`` of its user's."""
    place.mkdir()
    (place / "pipeline.py").write_text("")
    recording = str(model.parent / "a.wav")

    def told(*words: str) -> str:
        command = [str(python), *words]
        done = subprocess.run(
            command, cwd=place, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    words = ["predict", recording, "--model", str(model), "--threads", "1"]
    header, whole, *clips = told("-m", "ser_pipeline", *words).splitlines()
    assert header.startswith("file\tstart_s\tend_s\temotion")
    assert np.isclose(sum(map(float, whole.split("\t")[4:])), 1, atol=0.01)
    said = told("-c", USE, str(model), recording).splitlines()
    assert said == [f"True {len(clips)}", "[]", str(place / "pipeline.py")]
    assert "predict" in told("-m", "ser_pipeline", "--help")
    assert "microphone" in told("-m", "ser_pipeline", "web", "--help")


def test_a_model_works_by_what_the_wheel_holds(dist: Path, model: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel_of(dist)) as wheel:
        wheel.extractall(tmp_path / "site")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    require_use(Path(sys.executable), model, tmp_path / "place", environment)


def test_a_model_works_in_an_empty_environment(
    request: pytest.FixtureRequest, dist: Path, model: Path, tmp_path: Path
) -> None:
    """As who installs the wheel has it: its declared dependencies alone, from the index."""
    if not request.config.getoption("--long"):
        pytest.skip("minutes of installing, run it with --long")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pinned = ["-c", str(ROOT / "constraints.txt")]
    install = [str(python), "-m", "pip", "install", "-q", *pinned, str(wheel_of(dist))]
    subprocess.run(install, cwd=tmp_path, env=plain, check=True)
    assert not list((tmp_path / "venv").rglob("site-packages/pipeline*"))
    assert not list((tmp_path / "venv").rglob("site-packages/dvc*"))
    require_use(python, model, tmp_path / "place", plain)
