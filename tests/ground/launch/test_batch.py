"""A batch job that is stopped, by an sbatch that only looks like one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from pipeline.ground import code
from tests.patience import PATIENCE_S, wait_until

# Says when it has looked for the number to cancel the job, and found none.
PROGRAM = """
import traceback
from pathlib import Path
from pipeline.ground import ending
from pipeline.ground.launch import batch
look = batch._number
def number(answer):
    found = look(answer)
    if not found and any(frame.name == "cancel" for frame in traceback.extract_stack()):
        Path("looked").touch()
    return found
batch._number = number
ending.take_signals()
batch.run("stage", ["sbatch"], ["true"])
"""
# It has submitted the job, and tells its number when the test lets it.
SBATCH = "touch submitted; while [ ! -e tell ]; do sleep 0.05; done; echo 7; exec sleep 600"
PROGRAMS = {"sbatch": SBATCH, "scancel": 'echo "$1" > cancelled', "squeue": ":"}


def test_a_job_that_is_submitted_but_not_told_of_is_cancelled(tmp_path: Path) -> None:
    for name, text in PROGRAMS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(code.ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env={**os.environ, **environment}
    ) as stage:
        wait_until((tmp_path / "submitted").exists)
        stage.send_signal(signal.SIGTERM)
        wait_until((tmp_path / "looked").exists)
        (tmp_path / "tell").touch()
        assert stage.wait(PATIENCE_S) == 128 + signal.SIGTERM
    assert (tmp_path / "cancelled").read_text() == "7\n"
