"""A search goes by dev alone, resumes as if nothing had been, and looks at test once."""

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.cli.ahead import dev, search, space, trials
from pipeline.cli.preset import merged
from pipeline.ground.code import ROOT
from pipeline.ground.errors import PipelineError

SYSTEM = ("emotion", "fbank", "linear")
C = "finetune.methods.linear.c"
ACTIVE = """
features: [fbank]
folds: [0, 1]
methods: {cached: [linear], pretrained: [], retrained: []}
tasks: {cached: [emotion]}
task: {emotion: {classes: [angry, sad]}}
"""
GRAPH = """
stages:
  finetune-cached:
    matrix: {task: [emotion], features: [fbank], method: [linear], fold: [0, 1]}
    cmd: python train.py ${item.fold}
    deps: [train.py]
    params: [finetune.methods.linear]
    outs: ["artifacts/classifiers/emotion/fbank/linear/${item.fold}"]
  evaluate:
    cmd: python score.py
    deps: [score.py, artifacts/classifiers/emotion/fbank/linear]
    metrics: [results/metrics.json: {cache: false}]
"""
# The smaller c, the better on dev, and the worse on test: who looks there, chooses another.
TRAIN = """
import math, pathlib, sys
from ruamel.yaml import YAML
told = YAML(typ="safe").load(open("params.yaml"))["finetune"]["methods"]["linear"]
if told["kind"] == "svm":
    sys.exit("an svm fails here")
folder = pathlib.Path("artifacts/classifiers/emotion/fbank/linear", sys.argv[1])
folder.mkdir(parents=True)
place = (math.log10(told["c"][0]) + 1) / 2
rows = ["utterance,corpus,speaker,role,label,angry,sad"]
for role, skill in (("dev", 1 - place), ("test", place)):
    for n in range(1000):
        sad = n % 2
        right = n // 2 < 500 * skill
        logits = (0, 1) if sad == right else (1, 0)
        rows.append(f"a/{role}{n},a,s,{role},{('angry', 'sad')[sad]},{logits[0]},{logits[1]}")
(folder / "predictions.csv").write_text("\\n".join(rows) + "\\n")
"""
SCORE = """
import csv, json, pathlib
rows = [r for f in (0, 1) for r in csv.DictReader(
    open(f"artifacts/classifiers/emotion/fbank/linear/{f}/predictions.csv")) if r["role"] == "test"]
right = [(float(r["sad"]) > float(r["angry"])) == (r["label"] == "sad") for r in rows]
pathlib.Path("results").mkdir(exist_ok=True)
scores = {"uar": sum(right) / len(right)}
pathlib.Path("results/metrics.json").write_text(
    json.dumps({"emotion": {"fbank": {"linear": scores}}}))
"""


def write(path: Path, rows: list[list[object]], header: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        csv.writer(file).writerows([header.split(), *rows])
    return path


def test_only_rows_of_dev_are_scored(tmp_path: Path) -> None:
    header = "utterance corpus speaker role label angry sad"
    # On dev one class of two is known, on test both are.
    rows: list[list[object]] = [
        [f"u{n}", "a", "s", "dev", ("angry", "sad")[n % 2], 1.0, 0.0] for n in range(4)
    ]
    rows += [
        [f"t{n}", "a", "s", "test", ("angry", "sad")[n % 2], n % 2 == 0, n % 2] for n in (0, 1)
    ]
    rows += [["u9", "a", "s", "dev", "", 0.0, 9.0]]  # undecided votes
    one = write(tmp_path / "0.csv", rows, header)
    assert dev.score({0: one}, "emotion", ["angry", "sad"]) == 0.5
    other = write(tmp_path / "1.csv", rows[1:2] + rows[:1], header)
    other.write_text(other.read_text().replace("1.0,0.0", "0.0,1.0", 1))
    assert dev.score({0: one, 1: other}, "votes", ["angry", "sad"]) == 0.75
    none = write(tmp_path / "2.csv", rows[4:6], header)
    with pytest.raises(PipelineError, match="no dev utterance, set"):
        dev.score({0: none}, "emotion", ["angry", "sad"])


def test_dimensions_go_by_the_concordance_on_dev(tmp_path: Path) -> None:
    header = "utterance corpus speaker role true_x predicted_x true_y predicted_y"
    rng = np.random.default_rng(0)
    values = rng.normal(size=(8, 4))
    rows: list[list[object]] = [[f"u{n}", "a", "s", "dev", *row] for n, row in enumerate(values)]
    rows += [[f"t{n}", "a", "s", "test", n, n, n, n] for n in range(9)]
    path = write(tmp_path / "0.csv", rows, header)
    expected = []
    for x, y in ((values[:, 0], values[:, 1]), (values[:, 2], values[:, 3])):  # Lin, 1989
        covariance = np.mean((x - x.mean()) * (y - y.mean()))
        expected.append(2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))
    found = dev.score({0: path}, "dimensions", ["x", "y"])
    assert found == pytest.approx(np.mean(expected))


def test_a_space_is_what_is_written(tmp_path: Path) -> None:
    found = space.parse(["a.b=1e-5..1e-3:log", "c=2..9", "d=[0.1],[0.1,1]", "e=ce,am-softmax"])
    assert found == {
        "a.b": space.Range(1e-5, 1e-3, whole=False, log=True),
        "c": space.Range(2, 9, whole=True, log=False),
        "d": space.Choice(("[0.1]", "[0.1,1]")),
        "e": space.Choice(("ce", "am-softmax")),
    }


@pytest.mark.parametrize(
    ("texts", "rule"),
    [
        (["a"], "expected key=a,b"),
        (["a="], "expected key=a,b"),
        (["=1,2"], "expected key=a,b"),
        (["a=1,1"], "values that differ"),
        (["a=1,"], "none of them empty"),
        (["a=2..1"], "the lower number first"),
        (["a=1..inf"], "the lower number first"),
        (["a=nan..1"], "the lower number first"),
        (["a=x..y"], "two numbers"),
        (["a=0..1:log"], "above 0"),
        (["a=1,2", "a=3,4"], "twice"),
        ([], "nothing to try"),
    ],
)
def test_a_space_that_is_none_is_refused(texts: list[str], rule: str) -> None:
    with pytest.raises(PipelineError, match=rule):
        space.parse(texts)


def scored(name: str, settings: dict[str, str], system: Any) -> float:
    """What stands for an experiment: a smooth score, and one setting that fails."""
    if settings["kind"] == "svm":
        raise PipelineError(f"{name}: fails")
    return -abs(math.log10(float(settings["c"])))


def tried(study: Any) -> list[tuple[dict[str, str], float | None, bool]]:
    return [
        (one.user_attrs[trials.SETTINGS], one.value, bool(one.user_attrs[trials.REASON]))
        for one in trials.finished(study)
    ]


def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SER_SCRATCH", str(project / ".scratch"))
    tries = space.parse(["c=0.01..100:log", "kind=logistic,svm"])
    monkeypatch.setattr(trials, "_scored", scored)
    whole = trials.study("whole", SYSTEM, tries)
    for _ in range(14):  # more than TPE draws at random
        trials.run(whole, SYSTEM, tries, 3)
    assert {failed for *_, failed in tried(whole)} == {True, False}

    def killed(*_: object, **__: object) -> float:
        raise KeyboardInterrupt

    for kill in ("", "_scored", "", "", "_note", "_scored", "tell", *[""] * 9):
        cut = trials.study("cut", SYSTEM, tries)  # read anew from its journal each time
        with monkeypatch.context() as patch:
            if kill:
                patch.setattr(cut if kill == "tell" else trials, kill, killed)
                with pytest.raises(KeyboardInterrupt):
                    trials.run(cut, SYSTEM, tries, 3)
            else:
                trials.run(cut, SYSTEM, tries, 3)
    assert tried(cut) == tried(whole)[:12]
    with pytest.raises(PipelineError, match="of another classifier or space"):
        trials.study("cut", ("emotion", "tiny", "linear"), tries)


def test_each_method_is_trained_by_its_own_stage() -> None:
    told = {
        ("emotion", "pretrained", "full"): "finetune@emotion-full-2",
        ("heard", "retrained", "lora-qkv"): "finetune-adapted@heard-lora-qkv-2",
        ("emotion", "logmel", "crnn"): "crnn@emotion-logmel-2",
        ("affect", "tiny", "frozen"): "finetune-cached@affect-tiny-frozen-2",
    }
    assert {system: trials.stage(system, 2) for system in told} == told


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of DVC whose training takes no time."""
    folder = tmp_path / "planted"
    folder.mkdir()
    text = merged((ROOT / "params.yaml").read_text("utf-8"), ACTIVE)
    files = {"params.yaml": text, "dvc.yaml": GRAPH, "train.py": TRAIN, "score.py": SCORE}
    for name, content in {**files, ".gitignore": "/artifacts/\n/.scratch/\n"}.items():
        (folder / name).write_text(content, "utf-8")
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    for words in (
        ["git", "init", "-q"],
        ["dvc", "init", "-q"],
        ["git", "add", "-A"],
        ["git", *who, "commit", "-qm", "a"],
    ):
        subprocess.run(words, cwd=folder, check=True, capture_output=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SER_SCRATCH", str(folder / ".scratch"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return folder


def test_a_test_score_that_would_win_is_not_seen_and_the_chosen_one_is_shown_once(
    planted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def look(**options: Any) -> list[str]:
        search.main("emotion/fbank/linear", [f"{C}=[0.1],[0.3],[2.0],[10.0]"], **options)
        return capsys.readouterr().out.splitlines()

    told = look(trials=3, name="s", seed=1, test=False)
    study = trials.study("s", SYSTEM, space.parse([f"{C}=[0.1],[0.3],[2.0],[10.0]"]))
    values = {one[0][C]: one[1] for one in tried(study)}
    assert len(values) > 1  # else nothing was chosen
    for value, score in values.items():  # the score is dev's, by the formula of the training
        place = (math.log10(float(value.strip("[]"))) + 1) / 2
        assert score == pytest.approx(1 - place, abs=0.01)
    best = max(values, key=lambda one: values[one] or 0.0)
    assert told[0] == "3 trials, 0 failed" and told[-1] == f"dvc exp run -S {C}={best}"
    assert not list(planted.rglob("metrics.json"))  # nobody has asked how it is on test
    # The three are experiments of DVC, ranked without looking at test, too.
    search.main("emotion/fbank/linear", None)
    ranked = [float(line.split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert ranked == sorted(ranked, reverse=True) and len(ranked) == 3
    assert ranked[0] == pytest.approx(values[best], abs=1e-4)

    place = (math.log10(float(best.strip("[]"))) + 1) / 2
    (shown,) = (line for line in look(trials=3, name="s", seed=1, test=True) if "on test" in line)
    assert json.loads(shown.split()[-1]) == pytest.approx(place, abs=0.01)
    with pytest.raises(PipelineError, match="the test score of s was looked at"):
        look(trials=4, name="s", seed=1, test=False)


def test_a_trial_that_fails_is_a_failed_trial(
    planted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = ["finetune.methods.linear.kind=logistic,svm"]
    search.main("emotion/fbank/linear", kinds, trials=3, name="f", seed=2)
    out, err = capsys.readouterr()
    study = trials.study("f", SYSTEM, space.parse(kinds))
    failed = [one[0]["finetune.methods.linear.kind"] == "svm" for one in tried(study)]
    assert [one[2] for one in tried(study)] == failed
    assert 0 < sum(failed) < 3
    assert out.splitlines()[0] == f"3 trials, {sum(failed)} failed"
    assert err.count("failed: f-") == sum(failed)
    with pytest.raises(PipelineError, match="expected TASK/START/METHOD"):
        search.main("linear", kinds)
