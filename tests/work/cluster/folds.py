"""A project of one matrix, whose stage is told by its input what becomes of it."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest

from pipeline.ground import params, stage
from pipeline.ground.code import ROOT
from pipeline.ground.launch import ahead as launch
from pipeline.ground.launch.waiting import Run
from pipeline.work.cluster import ahead, remote
from pipeline.work.cluster.worker import Task
from tests import torchrun
from tests.params import set_runtime
from tests.patience import PATIENCE_S

GRAPH = """
stages:
  multitask:
    matrix:
      fold: ${adapted}
    cmd: python -m stages.multitask --fold ${item.fold}
    deps:
      - data/${item.fold}.txt
    params: [seed]
    outs:
      - artifacts/multitask/${item.fold}
"""
# It notes that it computes; its input has it wait for a file, fail, or write what it says.
STAGE = """
import os, time
from pathlib import Path
from typing import Annotated
import typer
from pipeline.ground import files, params
from pipeline.ground.errors import PipelineError
from pipeline.ground.launch.ahead import ahead
from pipeline.ground.stage import run, runtime
def main(fold: Annotated[int, typer.Option()]) -> None:
    with Path("computed").open("a") as log:
        log.write(f"{fold} {os.getpid()}\\n")
    if "SER_AHEAD" in os.environ:
        assert (runtime().engine, runtime().workers) == ("processes", 0)
    told = Path(f"data/{fold}.txt").read_text()
    if told == "wait":
        while not Path("go").exists():
            time.sleep(0.01)
    if told == "fail":
        raise PipelineError(f"data/{fold}.txt: says so, mend it")
    with files.publish(Path(f"artifacts/multitask/{fold}")) as out:
        out.mkdir()
        (out / "text.txt").write_text(f"{told} of seed {params.load('seed', int)}")
        files.write_json(out / "more.json", [fold])
run(main, ahead)
"""


def lay_out(**runtime: object) -> None:
    """The project in the working directory, with Ray and three folds."""
    Path("stages").mkdir()
    Path("stages/__init__.py").write_text((ROOT / "stages/__init__.py").read_text("utf-8"))
    Path("stages/multitask.py").write_text(STAGE)
    Path("dvc.yaml").write_text(GRAPH)
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    torchrun.change("adapted: [0, 1, 2]")
    Path("data").mkdir(exist_ok=True)
    for fold in range(3):
        tell(fold, f"fold {fold}")
    set_runtime(**{"engine": "ray", "ahead": True, "workers": 2, "device": "cpu", **runtime})


def tell(fold: int, what: str) -> None:
    Path(f"data/{fold}.txt").write_text(what)


def begun(fold: int, **changes: str) -> "subprocess.Popen[str]":
    """Start the stage as DVC does, which says nothing on stdout."""
    command = [sys.executable, "-m", "stages.multitask", "--fold", str(fold)]
    environment = {"PYTHONPATH": str(ROOT), "DVC_STAGE": f"multitask@{fold}", **changes}
    return subprocess.Popen(
        command, env=os.environ | environment, stderr=subprocess.PIPE, text=True
    )


def turn(fold: int, status: int = 0, **changes: str) -> str:
    """What a fold says, whose turn it is."""
    process = begun(fold, **changes)
    _, told = process.communicate(timeout=2 * PATIENCE_S)
    assert process.returncode == status, told
    return told


def computed() -> list[int]:
    """Which folds were computed, in turn."""
    log = Path("computed")
    return [int(line.split()[0]) for line in log.read_text().splitlines()] if log.exists() else []


def texts() -> dict[int, str]:
    """What each fold has published."""
    found = Path("artifacts/multitask").glob("*/text.txt")
    return {int(path.parent.name): path.read_text() for path in found}


def waiting() -> list[int]:
    """The folds whose results wait."""
    found = Path(".scratch").glob("*/artifacts/multitask/*")
    return sorted(int(path.name) for path in found if path.name.isdecimal())


def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have runs that are handed on made one after another, by this process."""

    def spread(task: Task, items: Sequence[Run], pack: Callable[[Run], Any]) -> Iterator[str]:
        make = task.make(*task.arguments)
        yield from (make(pack(run)) for run in items)

    monkeypatch.setattr(remote, "spread", spread)
    monkeypatch.setattr(launch, "_handed_on", lambda _, name, words: ahead.main(name, words))


def here(name: str, module: str, *arguments: str) -> tuple[bool, str]:
    """Whether what is made ahead does a stage that DVC runs under a name, and what is said."""
    params.read.cache_clear()
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(io.StringIO()) as said:
        patch.setenv("DVC_STAGE", name)
        told = " ".join([module, *arguments])
        done = launch.ahead(told, stage.runtime(), f"stages.{module}", arguments)
    return done, said.getvalue()
