"""What DVC runs again after an edit, on the demo's stages: commands only write their outputs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.startup import graph
from pipeline.cli import main as cli
from pipeline.cli.preset import merged

# As few stages as have all that is asked, since DVC writes its whole lock anew after each.
FEWER = """
features: [fbank]
folds: [0]
adapted: [0]
tasks: {cached: [emotion]}
methods: {pretrained: []}
networks: {features: []}
probe: {features: []}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    graph(folder, FEWER)
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


def committed(folder: Path) -> None:
    run(folder, "git", "add", "-A")
    run(folder, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a")


def ser(folder: Path, *words: str) -> str:
    return run(folder, sys.executable, "-m", "pipeline.cli.main", *words)


def test_status_names_what_changed_and_adopt_keeps_what_the_changelog_allows(project: Path) -> None:
    changelog = project / "CHANGELOG.md"
    changelog.write_text("## 1.0\n\n### Results\n\n- unchanged: nothing yet\n")
    committed(project)
    assert ser(project, "status") == "nothing would run again\n"
    append(project, "pipeline/units/kmeans.py", "\nLINE = 1\n")
    append(project, "pipeline/audio/decoding.py", "\n# a comment\n")
    params = project / "params.yaml"
    params.write_text(params.read_text("utf-8").replace("dtype: float16", "dtype: float32", 1))
    lines = [line.split(maxsplit=1) for line in ser(project, "status").splitlines()]
    told = {line[0]: line[1].strip() for line in lines if len(line) == 2}
    assert told["cluster@0"] == "code: pipeline/units/kmeans.py"
    assert told["extract@fbank-demo"] == "parameter: extract.dtype"
    assert {name.split("@")[0] for name in told if "@" in name and ":" in told[name]} == {
        "cluster",
        "extract",
    }
    refused = subprocess.run(
        [sys.executable, "-m", "pipeline.cli.main", "adopt"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert 'no entry under "Results" since dvc.lock was committed' in refused.stderr
    append(project, "pipeline/embeddings/writer.py", "\nLINE = 1\n")
    changelog.write_text("### Results\n\n- unchanged: kmeans\n\n" + changelog.read_text())
    adopted = ser(project, "adopt")
    assert "cluster@0: taken over" in adopted
    assert "extract@fbank-demo: more than its code changed, parameter: extract.dtype" in adopted
    assert ran(project) == {"extract", "evaluate"}  # which quotes that parameter


def test_adopt_leaves_what_the_changelog_names_and_what_is_not_here(project: Path) -> None:
    (project / "CHANGELOG.md").write_text("## 1.0\n")
    committed(project)
    append(project, "pipeline/units/kmeans.py", "\nLINE = 1\n")
    append(project, "pipeline/gmp/multitask.py", "\nLINE = 1\n")
    append(project, "pipeline/encoders/hub.py", "\nLINE = 1\n")
    (project / "artifacts/encoders/fbank").unlink()
    (project / "CHANGELOG.md").write_text("### Results\n\n- changed in `cluster`: better seeds\n")
    adopted = ser(project, "adopt")
    assert "cluster@0: CHANGELOG.md says: changed in `cluster`: better seeds" in adopted
    assert "multitask@0: taken over" in adopted
    assert "encoder@fbank: artifacts/encoders/fbank is not here as dvc.lock has it" in adopted
    assert "encoder@tiny: taken over" in adopted
    assert ran(project) == {"encoder", "cluster"}


def test_a_lock_that_a_kill_cut_short_is_named_with_its_remedy(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    lock = (project / "dvc.lock").read_bytes()
    for size in range(0, len(lock), len(lock) // 7):
        (project / "dvc.lock").write_bytes(lock[:size])
        with pytest.raises(SystemExit) as end:
            cli.app(["status"])
        told = capsys.readouterr().err
        if end.value.code:  # a cut between two stages leaves a lock like any other
            assert told.startswith("dvc.lock: damaged, or cut by a kill"), told
            assert "`git checkout dvc.lock`" in told
            assert len(told.splitlines()) == 1


def test_a_second_person_takes_what_the_own_cache_has(project: Path, tmp_path: Path) -> None:
    """A lock of another machine names bytes that are in no cache here; the run cache has mine."""
    committed(project)
    lock = (project / "dvc.lock").read_text("utf-8")
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", str(project), str(clone))
    run(clone, "dvc", "cache", "dir", "--local", str(project / ".dvc/cache"))
    # Other bytes of an encoder, as another kind of CPU makes them.
    held = re.search(r"path: artifacts/encoders/tiny\n      hash: md5\n      md5: (\w+)", lock)
    assert held
    (clone / "dvc.lock").write_text(lock.replace(held[1], "f" * 32), "utf-8")
    assert "delete dvc.lock" in " ".join(ser(clone, "status").split())
    (clone / "dvc.lock").unlink()
    # Of what Git holds and no metric is, DVC keeps no run: `evaluate` scores anew, nothing else.
    assert ran(clone) == {"code", "plan", "evaluate"}
    assert ran(clone) == set()


def test_a_fresh_clone_pulls_what_another_parameter_does_not_touch(
    project: Path, tmp_path: Path
) -> None:
    committed(project)
    run(project, "dvc", "remote", "add", "-d", "there", str(tmp_path / "remote"))
    committed(project)
    run(project, "dvc", "push", "-q")
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", str(project), str(clone))
    params = (clone / "params.yaml").read_text("utf-8")
    (clone / "params.yaml").write_text(params.replace("dtype: float16", "dtype: float32"), "utf-8")
    assert ran(clone, "--pull", "extract@fbank-demo") == {"extract"}
    assert (clone / "artifacts/embeddings/fbank/demo.h5").is_file()


PRETRAINED = """
features: [learned]
adapted: []
tasks: {cached: [emotion]}
methods: {pretrained: [full], retrained: []}
networks: {features: []}
pretrained: own
probe: {features: [learned]}
pretrain: {encoders: [learned], corpora: [emodb], folds: [0, 1], start: tiny}
"""


def test_pretraining_hangs_on_its_own_corpora_or_on_the_training_clips(tmp_path: Path) -> None:
    """What is scored reruns no encoder of other corpora; what is heard, no clip that is scored."""
    graph(tmp_path, PRETRAINED)
    lock = (tmp_path / "dvc.lock").read_text("utf-8")
    for name in ("pretrain@learned", "pretrain-fold@0", "pretrain-fold@1", "extract@learned-demo"):
        assert f"  {name}:\n" in lock
    (tmp_path / "data/raw/emodb/b.wav").touch()
    append(tmp_path, "pipeline/corpora/parsers/emodb.py", "\nLINE = 1\n")
    # The commands write what they wrote: nothing follows.
    assert ran(tmp_path) == {"code", "preprocess-unlabelled"}
    append(tmp_path, "pipeline/gmp/recipe.py", "\nLINE = 1\n")
    assert ran(tmp_path) == {"code", "pretrain", "pretrain-fold"}
    append(tmp_path, "pipeline/corpora/parsers/demo.py", "\nLINE = 1\n")
    assert ran(tmp_path) == {"code", "preprocess"}
    path = tmp_path / "params.yaml"
    path.write_text(merged(path.read_text("utf-8"), "pretrain: {epochs: [1, 2]}"), "utf-8")
    assert ran(tmp_path) == {"pretrain", "pretrain-fold", "evaluate"}
