"""Tests that fail now and then, repeated: each round counts, and what it said is kept."""

import os
import subprocess
import sys
from pathlib import Path

from pipeline.ground.code import ROOT

TESTS = """
import os, signal
from pathlib import Path
import pytest

def nth(name):
    with Path(name).open("a") as file:
        file.write(".")
        return file.tell()

@pytest.fixture(scope="session")
def shared():
    return nth("built")

@pytest.fixture
def own():
    yield
    nth("undone")

def test_that_fails_twice(shared, own):
    assert shared == 1
    assert nth("failing") % 3, "as every third"

def test_that_is_killed_once(shared):
    if nth("killed") == 2:
        os.kill(os.getpid(), signal.SIGKILL)

def test_that_is_left_out():
    nth("left out")
    pytest.skip("it is")
"""


def repeat(folder: Path, rounds: int, *words: str) -> tuple[int, str]:
    (folder / "test_few.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "tests.rounds", str(rounds), "test_few.py", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_every_round_counts_and_its_failures_are_kept(tmp_path: Path) -> None:
    status, told = repeat(tmp_path, 7)
    assert status == 1, told
    for line in (
        "7 rounds, 2 failed: test_few.py::test_that_fails_twice",
        "7 rounds, 1 failed: test_few.py::test_that_is_killed_once",
        "7 rounds, 0 failed: test_few.py::test_that_is_left_out",
    ):
        assert f"{line}\n" in told
    assert "3 failed, 11 passed, 7 skipped" in told
    done = {name: (tmp_path / name).stat().st_size for name in ("built", "undone", "left out")}
    assert done == {"built": 1, "undone": 7, "left out": 7}
    kept = [path.read_text() for path in sorted(tmp_path.glob("rounds-*/*.txt"))]
    assert ["as every third" in text for text in kept] == [True, True, False]
    assert kept[2] == "its process ended with -9"


def test_rounds_without_a_failure_leave_nothing(tmp_path: Path) -> None:
    status, told = repeat(tmp_path, 2, "-k", "twice")
    assert status == 0, told
    assert "2 rounds, 0 failed" in told
    assert not [*tmp_path.glob("rounds-*")]
