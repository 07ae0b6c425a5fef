"""Neither Python's -O, the locale, the time zone, nor where the project lies changes a byte."""

import os
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from pipeline.ground.code import ROOT
from tests.faults import chain
from tests.patience import PATIENCE_S

BUILD = "import sys; from pathlib import Path; from tests.faults import chain;"
BUILD += "chain.build(Path.cwd() / sys.argv[1])"


def test_the_same_bytes_in_another_folder_and_locale_and_without_assertions(
    reference: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mit Leerzeichen, äöü und 日本"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-O", "-c", BUILD, "données é"],
        cwd=folder,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "LC_ALL": "C", "LANG": "C", "TZ": "Asia/Tokyo"}
        | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    for step in chain.STEPS:
        assert chain.contents(folder / "données é", step) == chain.contents(reference, step), step


def test_outside_the_project_it_says_where_to_run(tmp_path: Path) -> None:
    status, told = chain.run(tmp_path, chain.step_of("split"))
    assert status == 1
    assert told == (
        "params.yaml: cannot be read (No such file or directory), run in the project's root\n"
    )


# Below these, files that are read can run code (CVE-2026-24747 in torch's restricted unpickler,
# CVE-2026-1839 in transformers' loading of checkpoints).
FLOORS = {"torch": "2.10", "transformers": "5"}


@pytest.mark.parametrize("name", FLOORS)
def test_no_version_with_a_known_hole_is_allowed_or_installed(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    [allowed] = [r for line in project["dependencies"] if (r := Requirement(line)).name == name]
    floor = Version(FLOORS[name])
    lowest = [Version(s.version) for s in allowed.specifier if s.operator in (">=", "~=", "==")]
    assert max(lowest) >= floor
    assert Version(version(name)) >= floor
    pins = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert [pin for pin in pins if pin.startswith(f"{name}==")]
    for pin in pins:
        if pin.startswith(f"{name}=="):
            assert Version(pin.split("==")[1].split()[0]) >= floor
