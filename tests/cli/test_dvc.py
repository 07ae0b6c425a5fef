"""A command of DVC and the stage that it runs end with the command that started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.ground import files
from pipeline.ground.code import ROOT

STAGE = "open('began', 'w').write(str(os.getpid())); time.sleep(600)"
PROGRAM = """
from pipeline.cli.dvc import dvc
from pipeline.ground import ending
ending.take_signals()
print(dvc(["repro", "waits"]))
"""
PATIENCE_S = 120


@pytest.fixture
def waits(tmp_path: Path) -> Path:
    """A project of DVC whose one stage begins and waits."""
    command = f'{sys.executable} -c "import os, time; {STAGE}"'
    files.write_json(tmp_path / "dvc.yaml", {"stages": {"waits": {"cmd": command}}})
    subprocess.run(
        [sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=tmp_path, check=True
    )
    return tmp_path


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_stage_too(waits: Path, number: int, status: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=waits, env=os.environ | {"PYTHONPATH": str(ROOT)}
    ) as process:
        began, stop = waits / "began", time.monotonic() + PATIENCE_S
        while (
            not (began.exists() and began.read_text())
            and process.poll() is None
            and time.monotonic() < stop
        ):
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(PATIENCE_S) == status
    stage = int(began.read_text())
    while is_there(stage) and time.monotonic() < stop:
        time.sleep(0.05)
    assert not is_there(stage)
