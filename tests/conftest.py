"""Fixtures that every test may use; threads are fixed before anything imports torch."""

import os
from pathlib import Path

import pytest

from pipeline.ground.stage import set_threads

set_threads(1)

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="all kills and inputs of tests/faults")


@pytest.fixture(scope="session")
def corpora_root() -> Path:
    """The folder with real speech (EmoDB, RAVDESS), which is not part of the project."""
    folder = Path(os.environ.get("SER_CORPORA") or ROOT.parent / "shared" / "corpora")
    if not folder.is_dir():
        pytest.skip(
            "no real corpora here, set SER_CORPORA to a folder that holds emodb/ and ravdess/"
        )
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder as the working directory, with the committed params.yaml."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SER_SCRATCH", str(tmp_path / ".scratch"))
    return tmp_path


@pytest.fixture
def base(project: Path) -> Path:
    """A small untrained encoder."""
    from tests.speech import small_encoder

    return small_encoder(project / "encoder")
