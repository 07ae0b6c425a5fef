"""The `ser` command on a small project with real DVC experiments."""

import csv
import errno
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score

from pipeline.cli import cache as cache_command
from pipeline.cli import main as cli
from pipeline.corpora.manifest import EMOTIONS
from pipeline.ground import files, live, locks, params
from pipeline.ground.code import ROOT
from pipeline.ground.provenance import Provenance
from tests import ratings
from tests.results import Study, plant_classifier

DVC_YAML = """
stages:
  train:
    cmd: python -c "import shutil; shutil.copytree('given', 'artifacts/classifiers/emotion')"
    deps: [given]
    outs: [artifacts/classifiers]
"""


def shell(project: Path, *words: str) -> None:
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(project)}
    subprocess.run(words, cwd=project, check=True, env=environment, capture_output=True)


def repository_of(project: Path, pipeline: str, *ignored: str) -> None:
    """A pipeline in a repository of Git, with this project's own settings of DVC."""
    (project / "dvc.yaml").write_text(pipeline)
    (project / ".gitignore").write_text("/artifacts/\n" + "\n".join(ignored))
    (project / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, project / ".dvc")
    shell(project, "git", "init", "-q")
    shell(project, "git", "config", "user.email", "someone@example.org")
    shell(project, "git", "config", "user.name", "Someone")


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two commits, `weak` and `strong`, whose predictions lie in DVC's cache alone."""
    project = tmp_path_factory.mktemp("committed")
    shutil.copy(ROOT / "params.yaml", project)
    linear_only(project)
    repository_of(project, DVC_YAML)
    for tag, skill in (("weak", 0.5), ("strong", 2.0)):
        plant_classifier(project / "planted", Study(), "fbank/linear", skill)
        (project / "given").mkdir(exist_ok=True)
        shell(project, "cp", "-r", "planted/artifacts/classifiers/emotion/fbank", "given")
        shell(project, "dvc", "repro", "-q")
        shell(project, "git", "add", ".")
        shell(project, "git", "commit", "-qm", tag)
        shell(project, "git", "tag", tag)
    shell(project, "rm", "-r", "artifacts", "given")
    return project


@pytest.fixture
def repository(committed: Path, project: Path) -> Path:
    """A copy of it to harm."""
    return Path(shutil.copytree(committed, project, dirs_exist_ok=True))


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
    params["tasks"]["cached"] = ["emotion"]
    params["networks"]["features"] = []
    with (project / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(params, file)


def test_compare_reads_both_revisions_from_the_cache(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("compare", "weak", "strong") == 0
    out = capsys.readouterr().out
    assert "emotion fbank linear: UAR 0.2" in out
    assert "128 utterances, 8 speakers" in out
    assert "exact sign-flip p 0.0078" in out  # 2 / 2^8
    assert out.count("(+") >= 7

    assert run("compare", "weak", "nowhere") == 1
    error = capsys.readouterr().err
    assert error.startswith("nowhere: ") and error.count("\n") == 1


@pytest.fixture
def fused(project: Path) -> Path:
    """Two commits of two classifiers and of their ensemble; in the second another is better."""
    shutil.copy(ROOT / "params.yaml", project)
    linear_only(project)
    two_and_both(project)
    repository_of(project, DVC_YAML)
    for tag, skills in (("first", (0.6, 1.0)), ("second", (1.2, 1.0))):
        for seed, (name, skill) in enumerate(zip(("fbank", "mfcc"), skills, strict=True)):
            plant_classifier(project / "planted", Study(), f"{name}/linear", skill, seed)
            for fold in range(2):
                place = project / f"planted/artifacts/classifiers/emotion/{name}/linear/{fold}"
                scale = {"temperature": 0.5 + seed + fold, "utterances": 9, "covers": [COVER]}
                (place / "calibration.json").write_text(json.dumps(scale))
        shutil.copytree(
            project / "planted/artifacts/classifiers/emotion", project / "given", dirs_exist_ok=True
        )
        shell(project, "dvc", "repro", "-q")
        shell(project, "git", "add", ".")
        shell(project, "git", "commit", "-qm", tag)
        shell(project, "git", "tag", tag)
    return project


COVER = {"coverage": 1.0, "confidence": 0.1, "accuracy": 0.5}


def two_and_both(project: Path) -> None:
    """Another classifier, and an ensemble of the two."""
    from ruamel.yaml import YAML

    yaml, path = YAML(), project / "params.yaml"
    found = yaml.load(path.read_text("utf-8"))
    found["features"] = ["fbank", "mfcc"]
    members = ["emotion/fbank/linear", "emotion/mfcc/linear"]
    found["evaluate"]["ensembles"] = {"both": {"members": members, "weights": "equal"}}
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(found, file)


def averaged(project: Path) -> tuple[dict[str, str], dict[str, str]]:
    """By hand: each utterance's label and what the mean of both calibrated softmaxes decides."""
    labels: dict[str, str] = {}
    sums: dict[str, np.ndarray] = {}
    for name in ("fbank", "mfcc"):
        for fold in range(2):
            folder = project / f"artifacts/classifiers/emotion/{name}/linear/{fold}"
            scale = json.loads((folder / "calibration.json").read_text())["temperature"]
            with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
                for row in (row for row in csv.DictReader(file) if row["role"] == "test"):
                    told = softmax(np.array([float(row[e]) for e in EMOTIONS]) / scale)
                    labels[row["utterance"]] = row["label"]
                    sums[row["utterance"]] = sums.get(row["utterance"], 0) + told
    return labels, {name: EMOTIONS[int(np.argmax(told))] for name, told in sums.items()}


def test_an_ensemble_is_compared_as_any_row_is(
    fused: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uars = []
    for tag in ("first", "second"):
        shell(fused, "git", "checkout", "-q", tag)
        shell(fused, "dvc", "checkout", "-q")
        labels, said = averaged(fused)
        uars.append(balanced_accuracy_score([labels[n] for n in labels], [said[n] for n in labels]))
    shutil.rmtree(fused / "artifacts")
    first, second = (f"{uar:.3f}" for uar in uars)
    # Of two experiments: each row that both have.
    assert run("compare", "first", "second") == 0
    out = capsys.readouterr().out
    assert f"emotion ensemble both: UAR {first} -> {second}, difference" in out
    assert [line.partition(":")[0] for line in out.splitlines() if ": UAR" in line] == [
        "emotion fbank linear", "emotion mfcc linear", "emotion ensemble both"
    ]  # fmt: skip
    # With another row: of the same experiment, of another one, the other way round.
    member = "emotion/mfcc/linear"
    rows = ("--row-a", member, "--row-b", "emotion/ensemble/both")
    assert run("compare", "first", "first", *rows) == 0
    (head, test, *_) = capsys.readouterr().out.splitlines()
    assert head.startswith("emotion mfcc linear -> emotion ensemble both: UAR ")
    assert f" -> {first}, difference" in head and "128 utterances, 8 speakers" in head
    assert "exact sign-flip p 0." in test
    assert run("compare", "first", "second", *rows) == 0
    assert f" -> {second}, difference" in capsys.readouterr().out
    back = ("--row-a", "emotion/ensemble/both", "--row-b", member)
    assert run("compare", "first", "first", *back) == 0
    other_way, same_test, *_ = capsys.readouterr().out.splitlines()
    assert f"UAR {first} -> " in other_way
    assert same_test.rpartition(" p ")[2] == test.rpartition(" p ")[2]
    # One row of both.
    assert run("compare", "first", "second", "--row-b", "emotion/ensemble/both") == 0
    assert capsys.readouterr().out.count(": UAR") == 1


def test_rows_that_make_no_pair_are_refused(
    fused: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, said in (
        (("first", "first"), "compare: first is named twice, name what to compare it with, or two"),
        (("first", "first", "--row-a", "emotion/mfcc/linear"), "compare: first is named twice"),
        (("first", "second", "--row-a", "emotion/ensemble/none"),
         "compare: first has no row 'emotion/ensemble/none', use one of: emotion/fbank/linear, "
         "emotion/mfcc/linear, emotion/ensemble/both"),
        (("first", "second", "--row-a", "both"), "compare: first has no row 'both', use one of"),
    ):  # fmt: skip
        assert run("compare", *words) == 1
        error = capsys.readouterr().err
        assert error.startswith(said) and error.count("\n") == 1


def test_a_workspace_ahead_of_its_artefacts_is_refused(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell(repository, "dvc", "checkout", "-q")
    assert run("compare", "weak", "workspace") == 0
    folder = Path("artifacts/classifiers/emotion/fbank/linear/0")
    Provenance.of(folder, ["seed"], []).write(folder)
    path = repository / "params.yaml"
    path.write_text(path.read_text("utf-8").replace("\nseed: 1\n", "\nseed: 2\n"), "utf-8")
    params.read.cache_clear()
    capsys.readouterr()
    assert run("compare", "weak", "workspace") == 1
    assert "linear/0: made with seed 1, params.yaml has 2" in capsys.readouterr().err


REPEATED = """
stages:
  train:
    cmd: >-
      python -c "import shutil; shutil.copytree('given/${finetune.loss.name}-${seed}/fbank',
      'artifacts/classifiers/emotion/fbank');
      shutil.copytree('given/${finetune.loss.name}-${seed}/results', 'results')"
    outs: [artifacts/classifiers/emotion/fbank]
    metrics: [results/metrics.json: {cache: false}]
"""


def test_experiments_that_differ_in_the_seed_alone_are_pooled(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three real experiments: two seeds of one loss, one of another."""
    linear_only(project)
    skills = {"ce": 0.5, "am-softmax": 2.0}
    for number, (loss, skill) in enumerate(skills.items()):
        for seed in (1, 2):
            plant_classifier(
                project / "planted", Study(), "fbank/linear", skill, 10 * number + seed
            )
            given = project / "given" / f"{loss}-{seed}"
            shutil.move(project / "planted/artifacts/classifiers/emotion", given)
            (given / "results").mkdir()
            metrics = {"emotion": {"fbank": {"linear": {"uar": skill / 4 + seed / 100}}}}
            (given / "results/metrics.json").write_text(json.dumps({**metrics, "share": {}}))
    repository_of(project, REPEATED, "/given/", "/planted/")
    shell(project, "git", "add", ".")
    shell(project, "git", "commit", "-qm", "start")
    for loss, seed in (("ce", 1), ("ce", 2), ("am-softmax", 1)):
        options = ("-S", f"finetune.loss.name={loss}", "-S", f"seed={seed}")
        shell(project, "dvc", "exp", "run", "-q", "-n", f"{loss[0]}{seed}", *options)
        shell(project, "rm", "-r", "results")

    assert run("show", "--experiments") == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    rows = [line.split() for line in out.splitlines() if "fbank" in line]
    pooled = {tuple(row[-3:]): row[-4] for row in rows}
    assert set(pooled) == {("1", "0.510", "-"), ("2", "0.140", "0.007")}
    group = pooled["2", "0.140", "0.007"]
    assert f"group {group}: c1, c2\n  finetune.loss.name=ce\n" in out

    assert run("compare", "c2", "a1", "--seeds") == 0
    out = capsys.readouterr().out
    assert "c1 (seed 1), c2 (seed 2)\na1 (seed 1)" in out
    assert "  2 seeds, 0.2" in out and "exact sign-flip p 0.0078" in out

    assert run("compare", "c1", "c2", "--seeds") == 1
    error = capsys.readouterr().err
    assert "c1 and c2 have the same settings but for the seed" in error and error.count("\n") == 1
    assert run("compare", "c1", "c2") == 0
    assert run("compare", "c1", "c1") == 1
    assert "c1 is named twice" in capsys.readouterr().err


ABLATED = """
stages:
  train:
    cmd: >-
      python -c "import shutil; shutil.copytree('given/${finetune.loss.name}${frames.layer}',
      'artifacts/classifiers')"
    outs: [artifacts/classifiers]
"""


def test_experiments_become_the_tables_of_the_ablation_study(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Skills by pseudo-labels, loss and layer; each is found in its place."""
    from ruamel.yaml import YAML

    params = YAML().load((project / "params.yaml").read_text("utf-8"))
    methods = {"cached": [], "pretrained": ["full"], "retrained": ["full"]}
    params |= {"folds": [0, 1], "adapted": [0, 1], "methods": methods}
    with (project / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(params, file)
    skills = {"ce-3": (0.0, 2.0), "am-softmax-3": (1.0, 9.0), "am-softmax-12": (1.0, 3.0)}
    for cell, (without, with_units) in skills.items():
        given = project / "given" / cell
        for start, skill in (("pretrained", without), ("retrained", with_units)):
            plant_classifier(given, Study(), f"{start}/full", skill)
        for made in (given / "artifacts/classifiers").iterdir():
            shutil.move(made, given / made.name)
        shutil.rmtree(given / "artifacts")
    assert run("ablation") == 1
    assert "is in no DVC repository" in capsys.readouterr().err
    repository_of(project, ABLATED, "/given/")
    shell(project, "git", "add", ".")
    shell(project, "git", "commit", "-qm", "start")
    assert run("ablation") == 1
    assert "run `make ablation`" in capsys.readouterr().err
    for loss, layer in (("ce", -3), ("am-softmax", -3), ("am-softmax", -12)):
        options = ("-S", f"finetune.loss.name={loss}", "-S", f"frames.layer={layer}")
        shell(project, "dvc", "exp", "run", "-q", *options)

    assert run("ablation") == 0
    third, fourth = capsys.readouterr().out.split("Table 4")
    rows = [line.split() for line in third.splitlines() if line.split()[:1] in (["no"], ["yes"])]
    assert [row[:3] for row in rows] == [
        ["no", "CE", "-3"],
        ["no", "AMS", "-3"],
        ["yes", "CE", "-3"],
        ["yes", "AMS", "-3"],
    ]
    uars = [float(row[3]) for row in rows]
    assert uars == sorted(uars) and uars[0] < 25 and uars[-1] == 100.0
    assert rows[-1][-3:] == ["100.0", "to", "100.0"]
    rows = [line.split() for line in fourth.splitlines() if line.split()[:1] == ["yes"]]
    assert [row[2] for row in rows] == ["-3", "-12"]  # from the top, as numbers
    assert 100.0 == float(rows[0][3]) > float(rows[1][3])


def test_a_flipped_byte_in_the_cache_is_named(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = repository / ".dvc/cache/files/md5"
    # What a copy into the cache is called until it is whole, on a full disk.
    left = [cache / "ab/.6ZkNPm2rTwKd0vJwqL1x5A.tmp", cache / f"ab/{'c' * 30}.6ZkNPm2rTwKd0vJ.tmp"]
    left[0].parent.mkdir(exist_ok=True)
    for path in left:
        path.write_bytes(b"half")
    assert run("cache", "verify") == 0
    told = capsys.readouterr().out
    assert "objects are whole, 2 leftovers may be deleted" in told and "corrupt" not in told
    assert all(str(path) in told for path in left)
    shell(repository, "dvc", "checkout", "-q")
    name = "artifacts/classifiers/emotion/fbank/linear/0/predictions.csv"
    digest = hashlib.md5((repository / name).read_bytes(), usedforsecurity=False).hexdigest()
    cached = repository / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    content = bytearray(cached.read_bytes())
    content[100] ^= 1
    cached.chmod(0o644)
    cached.write_bytes(content)
    assert run("cache", "verify") == 1
    found = capsys.readouterr()
    assert digest[2:] in found.out and f"of {name}" in found.out
    assert found.out.count("corrupt: ") == 1
    assert ": 1 of " in found.err.splitlines()[-1]


def test_the_cached_embeddings_are_listed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips, roles, frames = ratings.rated_corpus(5)
    ratings.write_project(clips, roles, frames)
    assert run("cache", "ls") == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "demo" in line)
    assert line.split()[:5] == ["fbank", "-", "demo", "5", str(sum(map(len, frames.values())))]


def test_embeddings_that_cannot_be_read_are_named_after_the_others(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips, roles, frames = ratings.rated_corpus(5)
    ratings.write_project(clips, roles, frames)
    folder = Path("artifacts/embeddings/fbank")
    content = (folder / "demo.h5").read_bytes()
    (folder / "a-cut.h5").write_bytes(content[: len(content) // 2])
    (folder / "b-none.h5").write_bytes(b"")
    (folder / "c-folder.h5").mkdir()
    (folder / "d-link.h5").symlink_to("nowhere")
    assert run("cache", "ls") == 1
    found = capsys.readouterr()
    listed = [line.split()[2] for line in found.out.splitlines() if "fbank" in line]
    assert listed == ["demo"]
    told = [line.partition(": ")[0] for line in found.err.splitlines()]
    assert told == [
        str(folder / f"{name}.h5") for name in ("a-cut", "b-none", "c-folder", "d-link")
    ]
    (folder / "demo.h5").unlink()
    assert run("cache", "ls") == 1
    assert "no embeddings" not in capsys.readouterr().out


def test_an_object_that_cannot_be_read_hides_no_other(
    repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = repository / ".dvc/cache/files/md5"
    objects = sorted(path for path in cache.glob("??/*") if path.is_file())
    objects[-1].chmod(0o644)
    objects[-1].write_bytes(b"other bytes")
    is_whole = cache_command._is_whole

    def failing(path: Path) -> bool:
        if path.name == objects[0].name:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return is_whole(path)

    monkeypatch.setattr(cache_command, "_is_whole", failing)
    assert run("cache", "verify") == 1
    found = capsys.readouterr()
    assert found.out.startswith(f"corrupt: {objects[-1]}")
    unread, last = found.err.splitlines()[-2:]
    assert unread == f"{objects[0]}: Input/output error, check the disk and run it again"
    assert "1 of " in last
    assert "are whole" not in found.out


def test_what_gc_cannot_delete_is_named_and_the_rest_goes(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, gone = (locks.scratch({"stage": name}) for name in ("extract", "share"))
    rmtree = shutil.rmtree

    def refusing(path: Path) -> None:
        if path == kept:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        rmtree(path)

    monkeypatch.setattr(shutil, "rmtree", refusing)
    assert run("cache", "gc") == 1
    told = capsys.readouterr().err
    assert told == f"{kept}: Permission denied, mend its permissions and run it again\n"
    assert kept.is_dir() and not gone.exists()


def test_gc_deletes_unfinished_work_alone(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unfinished = locks.scratch({"stage": "extract"})
    curve = live.FOLDER / "multitask-0.csv"
    files.write_text(curve, "epoch,train_loss\n")
    (unfinished / "shard").write_bytes(b"0" * 2_000_000)
    (unfinished.parent / "notes.txt").write_text("mine")
    assert run("cache", "gc") == 0
    assert "2.0 MB deleted" in capsys.readouterr().out
    assert {path.name for path in unfinished.parent.iterdir()} == {"notes.txt", "locks"}
    assert not curve.exists()


def test_sub_commands_load_nothing_heavy() -> None:
    code = (
        "import sys; from pipeline.cli import main\n"
        "try: main.app(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'numpy', 'dvc', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_stages_of_another_version_are_not_spoken_of(project: Path) -> None:
    from pipeline.cli import status

    (project / "dvc.yaml").write_text("stages: {a: {matrix: {x: [1, 2]}, cmd: 'true ${item.x}'}}")
    for words in (("git", "init", "-q"), ("dvc", "init", "-q")):
        shell(project, *words)
    lock = {"a@1": {"cmd": "true 1"}, "a@2": {"cmd": "true 2"}, "finetune@full-0": {"cmd": "true"}}
    assert list(status.known(lock)) == ["a@1", "a@2"]
