"""The chain of all stages, built once per session, and totals told at its end."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import chain

TOTAL = "total"


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
    """Count something that the end of the run shows the total of, in any number of processes."""

    def add(what: str, count: int) -> None:
        request.node.user_properties.append((TOTAL, (what, count)))

    return add


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    totals: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == TOTAL:
                totals[value[0]] += value[1]
    for what, count in totals.items():
        terminalreporter.write_line(f"{count} {what}")
