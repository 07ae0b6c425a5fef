"""A stage as a batch job of Slurm: submitted, waited for, shown while it runs, and cancelled.

`sbatch --wait` tells the job's exit status and nothing of what it says, which goes to a log in the
scratch store: this process shows it as it grows. The folder must be one that the nodes see.
"""

import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.ground import ending
from pipeline.ground.errors import PipelineError
from pipeline.ground.files import digest
from pipeline.ground.launch import prefix
from pipeline.ground.launch.process import GRACE_S, LOOK_EVERY_S, how, started
from pipeline.ground.locks import scratch_root
from pipeline.ground.progress import say

ANSWER_S = 15.0  # in which sbatch tells a job's number, or Slurm has given up (MessageTimeout)


def run(told: str, words: Sequence[str], command: Sequence[str]) -> None:
    """Submit ``command``, a step of Slurm, by ``words``, which begin with sbatch; wait for its end.

    Raises:
        PipelineError: It was refused or did not end with status 0; the log is named.
    """
    log = _emptied(scratch_root() / "logs" / f"{digest(told)}.log")
    with (
        tempfile.TemporaryFile() as script,
        ending.folder() as place,
        (place / "answer").open("wb") as answer,
    ):
        script.write(f"#!/bin/sh\nexec {shlex.join(command)}\n".encode())
        script.seek(0)

        def cancel(sbatch: subprocess.Popen[bytes]) -> None:
            if job := _awaited(sbatch, answer.name):
                _cancel(job)
            sbatch.terminate()

        with started(_sbatch(words, log), script, answer, stop=cancel) as sbatch:
            status = _follow(sbatch, log, told, answer.name)
        job = _number(answer.name)
    if not job:
        raise PipelineError(
            f"params.yaml: runtime.launcher is {shlex.join(words)!r}, which submitted no job "
            f"({how(status)}), mend what it says above, or set it to options of sbatch alone"
        )
    if status:
        raise PipelineError(
            f"{told}: job {job} of Slurm ended with {how(status)}, its log is {log}, mend what it "
            "says and run it again, it resumes"
        )


def _emptied(log: Path) -> Path:
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    return log


def _sbatch(words: Sequence[str], log: Path) -> list[str]:
    """What the user says, and after it, so that it holds, how we hear of the job."""
    # A job that Slurm starts anew after a node's failure goes on with its log.
    own = ["--wait", "--parsable", "--open-mode=append"]
    where = [f"--output={log.absolute()}", f"--error={log.absolute()}"]
    return [words[0], *prefix.per_gpu(words), *words[1:], *own, *where]


def _number(answer: str) -> str:
    """The job's number, as sbatch has told it; "" where it has not."""
    told = Path(answer).read_text("utf-8").partition("\n")[0].partition(";")[0]
    return told if told.isdigit() else ""


def _awaited(sbatch: subprocess.Popen[bytes], answer: str) -> str:
    """As `_number`, of a job that may be submitted just now: untold it would run on."""
    stop = time.monotonic() + ANSWER_S
    while not (job := _number(answer)) and sbatch.poll() is None and time.monotonic() < stop:
        time.sleep(LOOK_EVERY_S)
    return job


def _cancel(job: str) -> None:
    """Cancel the job and wait until it is gone, so that a new run does not meet it."""
    subprocess.run(["scancel", job], check=False)
    asked, stop = ["squeue", "--noheader", "--jobs", job], time.monotonic() + GRACE_S
    while subprocess.run(asked, check=False, capture_output=True).stdout:
        if time.monotonic() > stop:
            break
        time.sleep(1)  # the controller serves the whole cluster


def _follow(sbatch: subprocess.Popen[bytes], log: Path, told: str, answer: str) -> int:
    """Show the log as it grows until the job has ended; its exit status."""
    shown, job = 0, ""
    while True:
        status = sbatch.poll()  # before the log's last look
        if not job and (job := _number(answer)):
            say(f"{told}: job {job} of Slurm, its log is {log}")
        shown += _show(log, shown)
        if status is not None:
            return status
        time.sleep(LOOK_EVERY_S)


def _show(log: Path, start: int) -> int:
    """Write what the log has from ``start`` on to stderr; how much it was."""
    with log.open("rb") as file:
        file.seek(start)
        new = file.read()
    os.write(2, new)
    return len(new)
