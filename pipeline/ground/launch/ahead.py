"""A stage that has the other runs of its matrix made beside it, each of which then has its turn.

`runtime.ahead`: DVC runs a matrix one by one. So the first run hands the cluster all of them, and
each waits, finished, in the scratch store until DVC comes to it. What is handed on, by
`pipeline.work.cluster.ahead`, is DVC's and Ray's business: it is a program of its own.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter

from pipeline.ground import files, locks, runs
from pipeline.ground.errors import PipelineError
from pipeline.ground.files import LOCKS, digest
from pipeline.ground.launch.process import how, started
from pipeline.ground.launch.waiting import Run
from pipeline.ground.progress import say
from pipeline.ground.stage import Runtime, require_current_code

# As dvc.yaml calls them: those with a run for each fold. Others have few runs, each of all folds,
# or share the work of each run by themselves (`extract`, `preprocess`).
MATRICES = {
    "pretrain-fold",
    "multitask",
    "frames",
    "cluster",
    "retrain",
    "finetune",
    "finetune-adapted",
    "finetune-cached",
    "crnn",
    "networks",
}
# What the environment of a run ahead of its turn says beside `files.AHEAD`: the run, as JSON.
RUN = "SER_AHEAD_RUN"
_PROGRAM = "pipeline.work.cluster.ahead"


def ahead(told: str, runtime: Runtime, module: str, arguments: Sequence[str]) -> bool:
    """Whether a stage need not run here, since its result was, or is now, made ahead.

    Raises:
        PipelineError: It runs already, or what is handed on could not be.
    """
    if files.AHEAD in os.environ:
        return _is_made(told)
    name = os.environ.get("DVC_STAGE", "")
    if not runtime.ahead or name.partition("@")[0] not in MATRICES:
        return False
    with locks.locked(LOCKS / digest(["ahead", told]), told):
        run = _handed_on(told, name, [module, *arguments])
        return run is not None and _published(run)


def environment(run: Run) -> dict[str, str]:
    """What tells a process that it is this run, ahead of its turn."""
    return {files.AHEAD: str(run.folder), RUN: json.dumps(asdict(run))}


def read(text: str) -> Run:
    """The run that JSON describes."""
    return TypeAdapter(Run).validate_json(text)


def _is_made(told: str) -> bool:
    """In a run ahead of its turn: whether another process made its result already."""
    folder, run = Path(os.environ[files.AHEAD]), read(os.environ[RUN])
    locks.hold(locks.scratch_lock(folder), str(folder))
    if run.folder != folder:
        raise PipelineError(f"{told}: its inputs changed after it was handed on, run `dvc repro`")
    return run.result.exists()


def _handed_on(told: str, name: str, words: Sequence[str]) -> Run | None:
    """Have the program hand on what it can; the stage's own run, where its result waits now."""
    command = [sys.executable, "-m", _PROGRAM, name, *words]
    with tempfile.TemporaryFile() as answer:
        with started(command, stdout=answer) as process:
            status = process.wait()
        answer.seek(0)
        found = answer.read().decode()
    if status:
        raise PipelineError(
            f"{told}: what it hands on ended with {how(status)}, mend what is said above and run "
            "it again, it resumes"
        )
    return read(found) if found else None


def _published(run: Run) -> bool:
    """Publish the result that waits; False where another took it or it is damaged."""
    locks.hold(locks.scratch_lock(run.folder), str(run.folder))
    try:
        if not run.result.exists():
            return False
        with locks.locked(LOCKS / digest(run.told), run.told):
            runs.begin(run.told)
            require_current_code(run.words[0].rpartition(".")[2])
            if done := _copied(run):
                runs.end(run.told)
            shutil.rmtree(run.folder)
            return done
    finally:
        locks.release(run.folder)


def _copied(run: Run) -> bool:
    """Publish a copy, whose checksums are written anew; say so, and whether it is damaged."""
    result, sums = run.result, run.result / files.SUMS
    try:
        for line in sums.read_text("utf-8").splitlines() if sums.exists() else ():
            files.require_intact(result / line.partition("  ")[2])
    except PipelineError as error:
        say(f"{run.told}: {error}: it is made anew")
        return False
    with files.publish(Path(run.out)) as staged:
        if result.is_dir():
            shutil.copytree(result, staged, ignore=shutil.ignore_patterns(files.SUMS))
        else:
            shutil.copyfile(result, staged)
    say(f"{run.told}: was made ahead, is published")
    return True
