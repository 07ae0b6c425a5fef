"""What kills, signals and full disks leave of `preprocess`: nothing half-done."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.ground.code import ROOT
from tests.patience import PATIENCE_S, wait_until
from tests.recordings import record, tone
from tests.stages.test_preprocess import command, configure, contents, run, toy

AUGMENT = "[{kind: pitch, name: shifted, low: -2.0, high: 2.0}]"


def start(limit: int = resource.RLIMIT_FSIZE, largest: int = -1) -> subprocess.Popen[str]:
    """Start the stage with the largest value that it may have of a resource (-1: any)."""

    def prepare() -> None:
        # A shell's background jobs ignore Ctrl-C, and so would their children.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        resource.setrlimit(limit, (largest, largest))

    return subprocess.Popen(
        command("stages.preprocess", "--corpus", "toy"),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,  # noqa: PLW1509
        start_new_session=True,
    )


def group_members(group: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, members = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(members) == group and state != "Z":
            found.append(int(path.parent.name))
    return found


def wait_for_none(group: int) -> None:
    wait_until(lambda: group_members(group) == [])


def test_a_killed_run_resumes_to_the_same_bytes(project: Path) -> None:
    configure(project, augment=AUGMENT)
    toy(project, 40)
    folder = project / "artifacts/clips/toy"
    began = time.monotonic()
    assert run(SER_SCRATCH=str(project / "reference")).returncode == 0
    took_s = time.monotonic() - began
    expected = contents(folder)
    for delay_s in np.random.default_rng(0).uniform(0.3, 1.0, 3) * took_s:
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        folder.rmdir()
        process = start()
        time.sleep(delay_s)
        process.kill()
        process.communicate()
        wait_for_none(process.pid)
        assert not folder.exists() or contents(folder) == expected
        folder.mkdir(exist_ok=True)
    assert run().returncode == 0
    assert contents(folder) == expected
    assert not list((project / "artifacts/.staging").iterdir())


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_and_its_workers_in_one_line(
    project: Path, number: signal.Signals, status: int
) -> None:
    configure(project, augment=AUGMENT)
    toy(project, 200)
    process = start()
    store = project / ".scratch"
    while not list(store.glob("*/*.log")) and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == status
    assert "run it again to resume" in told.splitlines()[-1]
    assert "Traceback" not in told
    wait_for_none(process.pid)
    assert not (project / "artifacts/clips/toy").exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(project: Path) -> None:
    configure(project)
    raw = toy(project)
    record(raw / "wav/0.wav", tone(15.0))
    process = start(resource.RLIMIT_FSIZE, 60_000)
    _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, told
    assert "Traceback" not in told
    assert told.splitlines()[-1] == (
        "preprocess: File too large, old outputs are untouched: free some space and run it again"
    )
    assert not (project / "artifacts/clips/toy").exists()
    assert run().returncode == 0


def test_two_hours_of_audio_are_rejected_in_little_memory(project: Path) -> None:
    configure(project, max_reject_fraction="0.5")
    raw = toy(project, 3)
    header = record(raw / "wav/0.wav", tone(0.1)).read_bytes()[:40]
    size = 2 * 3600 * 32_000
    with (raw / "wav/0.wav").open("wb") as file:
        file.write(header + size.to_bytes(4, "little"))
        file.truncate(44 + size)
    # The samples alone would be 460 MB.
    process = start(resource.RLIMIT_DATA, 350_000_000)
    _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, told
    assert "too_long" in (project / "artifacts/clips/toy/rejects.csv").read_text()


PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak_kb() -> int:
    """The largest resident set of the stage or one of its workers."""
    stage = command("stages.preprocess", "--corpus", "toy")
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *stage],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    return int(done.stdout)


def test_memory_does_not_grow_with_the_corpus(project: Path) -> None:
    configure(project)
    peaks_kb = []
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 18 * 16_000).astype(np.float32)
    for utterances in (24, 96):
        raw = project / "data/raw/toy"
        for n in range(utterances):
            record(raw / f"wav/{n}.wav", np.roll(noise, n))
        toy(project, utterances)
        peaks_kb.append(peak_kb())
    # The added samples alone are 83 MB.
    assert peaks_kb[1] <= 1.2 * peaks_kb[0], peaks_kb
