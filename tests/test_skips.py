"""A skip that nobody allowed fails in CI, and there alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

TESTS = """
import pytest


def test_allowed() -> None:
    pytest.skip("needs a GPU")


def test_expected() -> None:
    pytest.xfail("known")


def test_unexpected() -> None:
    pytest.importorskip("no_such_module")
"""


@pytest.mark.parametrize(
    ("ci", "told"),
    [("true", "1 failed, 1 skipped, 1 xfailed"), ("", "2 skipped, 1 xfailed")],
)
def test_an_unexpected_skip_fails_in_ci(tmp_path: Path, ci: str, told: str) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests.conftest import pytest_runtest_makereport  # noqa: F401\n"
    )
    (tmp_path / "test_it.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", str(tmp_path)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "CI": ci, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told in done.stdout
    assert ("no_such_module" in done.stdout and "tests/skips.py" in done.stdout) == (ci == "true")
