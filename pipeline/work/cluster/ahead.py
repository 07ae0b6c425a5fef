"""Runs of a stage's matrix on the places of a cluster, ahead of their turn in DVC.

A stage that DVC runs starts this program (`pipeline.ground.launch.ahead`). It hands on what DVC
would run next, and prints the stage's own run, as JSON, where its result waits. A run that fails
stops no other: what is wrong it says in its own turn.
"""

import json
import secrets
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from pipeline.ground import code, ending, files, locks, stage
from pipeline.ground.errors import PipelineError
from pipeline.ground.launch import ahead
from pipeline.ground.launch.waiting import Run
from pipeline.ground.progress import say
from pipeline.work.cluster import likeness, matrix, remote, runner
from pipeline.work.cluster.worker import Task


def main(name: str, words: Sequence[str]) -> Run | None:
    """Hand on what can be; the stage's own run, where its result waits now.

    Args:
        name: What DVC calls the stage.
        words: Its module and arguments.

    Raises:
        PipelineError: As `remote.spread`, and the own result does not wait.
    """
    from pipeline.work.device import select

    device = select(stage.runtime().device)
    found = matrix.runs(name, words, likeness.computer(device))
    ready = [run for run in found if _is_ready(run)]
    if not ready or ready[0] != found[0]:
        return None
    own, left = ready[0], [run for run in ready if not run.result.exists()]
    # What waits has its turn at once; what is alone the stage makes itself.
    if own in left and len(left) > 1:
        try:
            _make(left, device.type)
        except PipelineError as error:
            if not own.result.exists():
                raise
            say(str(error))
    return own if own.result.exists() else None


def _is_ready(run: Run) -> bool:
    """Whether its inputs are there and pass."""
    try:
        return bool(run.folder)
    except (PipelineError, OSError):
        return False


def _make(left: Sequence[Run], device: str) -> None:
    logs = locks.scratch_root().absolute() / "logs"
    say(f"ahead: {len(left)} runs side by side, what each says is in {logs}")
    environment = {
        "SER_SCRATCH": str(locks.scratch_root().absolute()),
        "PYTHONPATH": str(code.ROOT),
        # A place without a GPU may be on a machine that has some.
        **({} if device == "cuda" else {"CUDA_VISIBLE_DEVICES": ""}),
    }
    mark = files.LOCKS.absolute() / f"ahead-{secrets.token_hex(8)}"
    with ending.undone(partial(mark.unlink, missing_ok=True)):
        mark.touch()
        arguments = Path.cwd(), logs, environment
        task = Task(runner.maker, arguments, device=device, mark=mark)
        for run, end in zip(left, remote.spread(task, left, _packed), strict=True):
            lost = not (end or run.result.exists())
            why = "its result is not here, set SER_SCRATCH to a folder that all nodes share"
            say(f"ahead: {run.told}: {why if lost else end or 'done'}")


def _packed(run: Run) -> runner.Packed:
    return run.told, run.words, ahead.environment(run)


if __name__ == "__main__":
    ending.take_signals()
    try:
        made = main(sys.argv[1], sys.argv[2:])
    except PipelineError as refusal:
        sys.exit(str(refusal))
    ending.ignore_signals()
    if made:
        print(json.dumps(asdict(made)))  # noqa: T201
