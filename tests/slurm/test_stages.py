"""Stages on a real Slurm: batch jobs, steps, a cancelled job, and what follows it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages import multitask
from tests import skips, torchrun
from tests.patience import PATIENCE_S, wait_until
from tests.slurm import cluster
from tests.speech import extracted_tones

pytestmark = pytest.mark.cluster
MULTITASK = ("stages.multitask", "--fold", "0")
OUT = Path("artifacts/multitask/0")
BATCH = "sbatch --wait --ntasks 2"
# Imported by every Python: the first process stops once, in the second epoch, until it is ended.
STOPS_ONCE = """
import os, time
from pathlib import Path
mark = Path(os.environ["STOPPED"])
if os.environ.get("SLURM_PROCID") == "0" and not mark.exists():
    from pipeline.training.epoch import Epoch
    take = Epoch._step
    def step(self, *given):
        if (self.number, self.done) == (2, 1):
            mark.touch()
            time.sleep(3600)
        return take(self, *given)
    Epoch._step = step
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    if not cluster.is_installed():
        pytest.skip(f"{skips.NO_SLURM}, and to be root: slurmctld, slurmd and munge")
    with cluster.running(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture
def ready(project: Path, slurm: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    torchrun.project()
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    return project


@pytest.fixture
def stopping(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of processes of which one stops once."""
    folder = tmp_path_factory.mktemp("stopping")
    (folder / "sitecustomize.py").write_text(STOPS_ONCE)
    path = torchrun.variables({})["PYTHONPATH"]
    return {"PYTHONPATH": f"{folder}:{path}", "STOPPED": str(folder / "stopped")}


def by(launcher: str) -> None:
    torchrun.change(f"runtime: {{launcher: {launcher}}}")


def jobs() -> list[str]:
    done = subprocess.run(
        ["squeue", "--noheader", "--format=%i"], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def begun(environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start the stage, which waits for its job."""
    return subprocess.Popen(
        [sys.executable, "-m", *MULTITASK],
        env=torchrun.variables(environment),
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("launcher", [BATCH, "srun --ntasks 2", "srun --gpus 2"])
def test_two_tasks_train_as_one(ready: Path, launcher: str) -> None:
    multitask.main(0)
    one = torchrun.published(OUT)
    by(launcher)
    said = torchrun.run(MULTITASK, {}).splitlines()
    assert said[0] == f"multitask --fold 0: by {launcher}"
    assert [line.split(":")[0] for line in said[-2:]] == ["epoch 1/2", "epoch 2/2"]
    torchrun.require_alike(torchrun.published(OUT), one)
    assert not jobs()


def test_a_stage_that_stops_is_one_line_with_the_log_s_place(ready: Path) -> None:
    by("sbatch --wait")
    path = Path("artifacts/encoders/x/model.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    said = torchrun.run(MULTITASK, {}, 1).splitlines()
    log = Path(said[-1].split("its log is ")[1].split(",")[0])
    told = log.read_text("utf-8").splitlines()
    assert said[-1].startswith("multitask --fold 0: job ")
    assert "artifacts/encoders/x" in told[0]
    assert set(told) <= set(said)


def test_what_slurm_refuses_is_told(ready: Path) -> None:
    by("sbatch --wait --partition nowhere")
    said = torchrun.run(MULTITASK, {}, 1).splitlines()
    assert "Invalid partition" in said[-2]
    assert "which submitted no job (status 1)" in said[-1]


@pytest.mark.parametrize("how", ["scancel", "SIGTERM"])
def test_a_cancelled_job_resumes_to_the_same_bytes(
    ready: Path, stopping: dict[str, str], how: str
) -> None:
    by(BATCH)
    torchrun.run(MULTITASK, {})
    expected = (OUT / "model.safetensors").read_bytes()
    waiting = begun(stopping)
    wait_until(Path(stopping["STOPPED"]).exists)
    if how == "scancel":
        subprocess.run(["scancel", *jobs()], check=True)
        status = 1
    else:
        os.kill(waiting.pid, signal.Signals[how])
        status = 128 + signal.Signals[how]
    said = waiting.communicate(timeout=PATIENCE_S)[1]
    assert (waiting.returncode, "it again" in said.splitlines()[-1]) == (status, True), said
    assert how == "scancel" or not jobs()
    assert "resumed after epoch 1, step 0" in torchrun.run(MULTITASK, stopping)
    assert (OUT / "model.safetensors").read_bytes() == expected


def test_a_job_that_is_cancelled_before_it_begins_is_not_done(ready: Path) -> None:
    by("sbatch --wait --hold")
    waiting = begun({})
    wait_until(lambda: bool(jobs()))
    subprocess.run(["scancel", *jobs()], check=True)
    said = waiting.communicate(timeout=PATIENCE_S)[1]
    assert waiting.returncode == 1
    assert "but the stage did not: it was cancelled" in said.splitlines()[-1]


@pytest.mark.parametrize("engine", ["processes", "ray"])
def test_extract_as_a_step(project: Path, slurm: dict[str, str], engine: str) -> None:
    """By processes of its own or of a Ray that it starts, on the processors of a step."""
    extracted_tones("{corpora: [tones], runtime: {device: cpu, workers: 2}}", 30)
    path = Path("artifacts/embeddings/fbank/tones.h5")
    expected = path.read_bytes()
    path.unlink()
    torchrun.change(f"runtime: {{engine: {engine}}}")
    command = ["-m", "stages.extract", "--encoder", "fbank", "--corpus", "tones"]
    subprocess.run(
        ["srun", "--cpus-per-task", "2", sys.executable, *command],
        env=torchrun.variables({**slurm, "SER_SCRATCH": "anew"}),
        check=True,
        timeout=PATIENCE_S,
    )
    assert path.read_bytes() == expected
