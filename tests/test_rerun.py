"""What DVC runs again after an edit, on the demo's graph: the commands only write their outputs."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.startup import graph


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    graph(folder, "{}")
    return folder


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    shutil.copytree(finished, folder, symlinks=True)
    return folder


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ran(folder: Path, *words: str) -> set[str]:
    """The stages that `dvc repro` ran, without their items."""
    told = run(folder, "dvc", "repro", *words)
    return set(re.findall(r"Running stage '([a-z-]+)", told))


def append(folder: Path, file: str, text: str) -> None:
    with (folder / file).open("a", encoding="utf-8") as module:
        module.write(text)


def test_a_line_reruns_what_reaches_it_and_words_rerun_nothing(project: Path) -> None:
    stale = project / "artifacts/clips/not-active"
    stale.mkdir()
    for file in ("pipeline/audio/decoding.py", "stages/plan.py", "pipeline/ground/files.py"):
        append(project, file, "\n\n# a comment\n")
    assert ran(project) == {"code"}
    append(project, "pipeline/ground/files.py", "\nLINE = 1\n")
    append(project, "pipeline/corpora/parsers/emodb.py", "\nLINE = 1\n")
    append(project, "pipeline/cli/show.py", "\nLINE = 1\n")
    append(project, "stages/plan.py", "\nLINE = 1\n")
    assert ran(project) == {"code"}
    # The commands write what they wrote, so that nothing downstream runs after them.
    append(project, "pipeline/units/kmeans.py", "\nLINE = 1\n")
    assert ran(project) == {"code", "cluster"}
    append(project, "pipeline/corpora/parsers/demo.py", "\nLINE = 1\n")
    assert ran(project) == {"code", "preprocess"}
    append(project, "pipeline/embeddings/writer.py", "\nLINE = 1\n")
    assert ran(project) == {"code", "extract", "frames"}
    assert ran(project) == set()
    # `plan` ran none of these times: it would have pruned this.
    assert stale.is_dir()


def test_a_fresh_clone_pulls_what_another_parameter_does_not_touch(
    project: Path, tmp_path: Path
) -> None:
    run(project, "git", "add", "-A")
    run(project, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a")
    run(project, "dvc", "remote", "add", "-d", "there", str(tmp_path / "remote"))
    run(project, "git", "commit", "-aqm", "remote")
    run(project, "dvc", "push", "-q")
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", str(project), str(clone))
    params = (clone / "params.yaml").read_text("utf-8")
    (clone / "params.yaml").write_text(params.replace("dtype: float16", "dtype: float32"), "utf-8")
    assert ran(clone, "--pull", "extract@fbank-demo") == {"extract"}
    assert (clone / "artifacts/embeddings/fbank/demo.h5").is_file()
