"""The chain of all stages, built once per session, and totals told at its end."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import chain

TOTALS = pytest.StashKey[Counter[str]]()


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which every stage has run."""
    return chain.build(tmp_path_factory.mktemp("chain") / "project")


@pytest.fixture
def copied(reference: Path, tmp_path: Path) -> Path:
    """A copy of it to harm."""
    return chain.copy(reference, tmp_path / "project")


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str, int], None]:
    """Count something that the end of the run shows the total of."""

    def add(what: str, count: int) -> None:
        request.config.stash.setdefault(TOTALS, Counter())[what] += count

    return add


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for what, count in config.stash.get(TOTALS, Counter()).items():
        terminalreporter.write_line(f"{count} {what}")
