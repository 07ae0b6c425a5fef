"""What `ser doctor` says of this machine, and of one that is ill."""

import json
import shutil
import subprocess
import sys
from collections import namedtuple
from importlib import metadata

import pytest

from pipeline.cli import main as cli
from pipeline.cli.start import doctor
from pipeline.ground.code import ROOT

Usage = namedtuple("Usage", "total used free")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.app(["doctor", *words])
    return int(str(ended.value.code or 0)), capsys.readouterr().out


def test_it_tells_what_python_tells(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2e12, 1e12, 1e12))
    _, out = run(capsys, "--json")
    told = {one["name"]: one for one in json.loads(out)}
    for name in ("torch", "transformers", "dvc"):
        assert told[name]["found"] == metadata.version(name)
    assert told["disk: project"]["found"] == "1000 GB free"
    assert told["params.yaml"] == {"name": "params.yaml", "found": "reads", "wrong": ""}
    assert "dev" in told["extras"]["found"].split(", ")
    assert "opensmile" not in told["extras"]["found"] or metadata.version("opensmile")


def test_what_is_wrong_is_told_with_its_remedy_and_the_exit_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1e10, 9e9, 1e9))
    monkeypatch.setattr(doctor, "_version", lambda name: "" if name == "peft" else "1.8.1")
    status, out = run(capsys)
    assert status == 1
    assert "! disk: scratch: less than 10 GB are free, free some" in out
    assert "! peft: not installed, run `make install`" in out
    assert (
        "faiss: both are installed, which breaks it; install one of the extras cpu and gpu" in out
    )
    assert "! torch: must be >=2.10" in out


def test_a_look_that_fails_is_a_finding_and_the_others_go_on(
    capsys: pytest.CaptureFixture[str], tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))  # no repository of DVC, no params.yaml
    status, out = run(capsys)
    assert status == 1
    assert "! disk: NotDvcRepoError" in out
    assert "! project: params.yaml" in out
    assert f"torch               {metadata.version('torch')}".split() == next(
        line.split() for line in out.splitlines() if line.strip().startswith("torch ")
    )


def test_the_version_and_what_a_shell_completes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        cli.app(["--version"])
    assert capsys.readouterr().out == f"ser {metadata.version('ser-pipeline')}\n"
    for typed, meant in (("ser pre", "predict\npreset"), ("ser init --na", "--name")):
        told = subprocess.run(
            [sys.executable, "-c", "import sys; sys.argv[0] = 'ser'; import ser_pipeline.__main__"
             " as m; m.app()"],
            env={"_SER_COMPLETE": "complete_bash", "COMP_WORDS": typed, "PYTHONPATH": str(ROOT),
                 "COMP_CWORD": str(typed.count(" "))},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert told.stdout.strip() == meant
