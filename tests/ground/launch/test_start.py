"""A stage that starts itself: what it waits for, what it says, and that nothing outlives it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.ground.code import ROOT
from pipeline.ground.errors import PipelineError
from pipeline.ground.files import LOCKS, digest
from pipeline.ground.launch.start import by_launcher
from pipeline.ground.locks import locked
from tests.ground.test_ending import each_signal
from tests.patience import PATIENCE_S, wait_until

# Stands for a stage: by its argument it ends well, fails, forgets to end well, or never ends.
STAGE = """
import os, sys, time
from pathlib import Path
from pipeline.ground import runs
assert os.environ["SER_LAUNCHED"] == "1"
print("a stage says", sys.argv[1], file=sys.stderr, flush=True)
if sys.argv[1] == "well":
    runs.record("stage --fold 0", 1.0)
elif sys.argv[1] == "forever":
    Path("pid").write_text(str(os.getpid()))
    time.sleep(600)
sys.exit(3 * (sys.argv[1] == "fail"))
"""
# What Slurm does of these, on this machine and at once.
SLURM = {
    "srun": 'while [ "$1" != env ]; do shift; done\nexec "$@"',
    "sbatch": """
for word; do case $word in
  --output=*) log=${word#*=} ;;
  --refuse) echo "sbatch: error: refused" >&2; exit 1 ;;
  --cancelled) echo 12; exit 0 ;;
esac; done
echo 12
cat >script
sh -c 'echo $$ >job; exec sh script' >>"$log" 2>&1 &
wait $!
""",
    "scancel": 'echo "scancel $*" >>asked\nkill $(cat job)',
    "squeue": 'echo "squeue $*" >>asked',
}
PARENT = """
import sys
from pipeline.ground import ending
from pipeline.ground.launch.start import by_launcher
ending.take_signals()
by_launcher("stage --fold 0", sys.argv[1], "stage", ["forever"])
"""


@pytest.fixture(autouse=True)
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (project / "stage.py").write_text(STAGE)
    (project / "bin").mkdir()
    for name, text in SLURM.items():
        path = project / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{project / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{project}:{ROOT}")
    return project


def start(launcher: str, what: str) -> None:
    by_launcher("stage --fold 0", launcher, "stage", [what])


LAUNCHERS = ["env -i", "srun -n 1", "sbatch --wait"]
each_launcher = pytest.mark.parametrize("launcher", LAUNCHERS)


@each_launcher
def test_a_stage_that_ends_well(launcher: str, capfd: pytest.CaptureFixture[str]) -> None:
    words = launcher.replace("-i", f"-i PYTHONPATH={os.environ['PYTHONPATH']}")
    start(words, "well")
    told = capfd.readouterr().err.splitlines()
    assert told[0] == f"stage --fold 0: by {words}"
    assert told[-1] == "a stage says well"


@each_launcher
def test_a_stage_that_fails(launcher: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PipelineError, match=r"stage --fold 0: .* ended with status ") as error:
        start(launcher.replace(" -i", ""), "fail")
    assert "a stage says fail" in capfd.readouterr().err
    assert "status 3" in str(error.value)
    if launcher.startswith("sbatch"):
        log = Path(str(error.value).split("its log is ")[1].split(",")[0])
        assert log.read_text() == "a stage says fail\n"
        assert "job 12 of Slurm" in str(error.value)


@pytest.mark.parametrize(("launcher", "what"), [("env", "forget"), ("sbatch --cancelled", "well")])
def test_a_stage_that_did_not_end_well_although_its_launcher_says_so(
    launcher: str, what: str
) -> None:
    with pytest.raises(PipelineError, match=r"ended well, but the stage did not.*run it again"):
        start(launcher, what)


def test_a_job_that_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PipelineError, match=r"'sbatch --refuse', which submitted no job"):
        start("sbatch --refuse", "well")
    assert "sbatch: error: refused" in capfd.readouterr().err


def test_one_at_a_time() -> None:
    name = LOCKS / digest(["launch", "stage --fold 0"])
    holder = f"""
import sys
from pathlib import Path
from pipeline.ground.locks import locked
with locked(Path({str(name)!r}), "it"):
    print("held", flush=True)
    sys.stdin.read()
"""
    other = subprocess.Popen(
        [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdin is not None
    other.stdout.readline()
    with pytest.raises(PipelineError, match=rf"process {other.pid} runs it already"):
        start("env", "well")
    other.communicate(timeout=PATIENCE_S)
    start("env", "well")
    with locked(name, "it"):
        pass


def begin(launcher: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a stage that never ends: the process that launches it, and its own number."""
    with Path("said").open("wb") as said:
        parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, launcher],
            stderr=said,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
    wait_until(lambda: Path("pid").exists() and bool(Path("pid").read_text()))
    return parent, int(Path("pid").read_text())


def is_gone(process: int) -> bool:
    """Whether it has ended; who adopted it may not have looked yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@each_signal
@pytest.mark.parametrize("launcher", ["env", "sbatch --wait"])
def test_a_signal_ends_what_was_started(number: int, status: int, word: str, launcher: str) -> None:
    parent, stage = begin(launcher)
    parent.send_signal(number)
    assert parent.wait(PATIENCE_S) == status
    wait_until(lambda: is_gone(stage))
    assert f"{word}, run it again to resume" in Path("said").read_text()
    asked = Path("asked").read_text() if Path("asked").exists() else ""
    expected = ["scancel 12", "squeue --noheader --jobs 12"] if "sbatch" in launcher else []
    assert asked.splitlines() == expected


def test_a_killed_stage_takes_what_it_started_along() -> None:
    parent, stage = begin("env")
    parent.kill()
    parent.wait(PATIENCE_S)
    wait_until(lambda: is_gone(stage))
