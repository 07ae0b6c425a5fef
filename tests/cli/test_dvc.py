"""A command of DVC and the stage that it runs end with the command that started it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.ground import files
from pipeline.ground.code import ROOT
from tests.patience import PATIENCE_S, wait_until

STAGE = "open('began', 'w').write(str(os.getpid())); time.sleep(600)"
PROGRAM = """
import signal
from pipeline.cli.dvc import dvc
from pipeline.ground import ending
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background ignores
ending.take_signals()
print(dvc(["repro", "waits"]))
"""


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
    began = waits / "began"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=waits, env=os.environ | {"PYTHONPATH": str(ROOT)}
    ) as process:
        try:
            wait_until(lambda: began.exists() and began.read_text() != "")
            process.send_signal(number)
            assert process.wait(PATIENCE_S) == status
        finally:
            process.kill()
    stage = int(began.read_text())
    wait_until(lambda: not is_there(stage))
