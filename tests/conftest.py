"""Fixtures that every test may use; threads are fixed before anything imports torch."""

import gc
import os
import re
import signal
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.cli import preset
from pipeline.ground import ending, params
from pipeline.ground.stage import set_threads
from tests import skips

if TYPE_CHECKING:
    import torch

    from tests.team import Colleague

set_threads(1)
ending.collect_seldom()
# Hundreds of tests merge one of few texts into the committed one, at a tenth of a second each.
preset.merged = cache(preset.merged)

ROOT = Path(__file__).resolve().parent.parent
LONGEST = ("tests/ground/test_live.py", "tests/test_rerun.py", "tests/test_team.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="all kills and inputs of tests/faults")
    parser.addoption("--cluster", action="store_true", help="also what is marked cluster")
    parser.addoption("--web", action="store_true", help="all of the service's and the page's tests")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cluster: minutes on several nodes, see `make cluster`")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What all tests import stays to the end: no cycles are looked for in it, now or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked cluster, unless it is asked for; begin with what takes longest.

    So no process is left alone with it at the end, and what a file builds is built in one of them.
    """
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))
    if config.getoption("--cluster"):
        return
    left_out = [item for item in items if item.get_closest_marker("cluster")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a test that is left out for a reason that `tests.skips` does not have fails."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if skips.refused(reason):
            report.outcome = "failed"
            report.longrepr = f"skipped for a reason that tests/skips.py does not allow: {reason}"
    return report


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """No test changes how this process, and with it the tests that follow, answers to signals."""
    before, held = _handlers(), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    after, still_held = _handlers(), signal.pthread_sigmask(signal.SIG_SETMASK, held)
    changed = {number: handler for number, handler in after.items() if handler != before[number]}
    for number in changed:
        signal.signal(number, before[number])
    assert (changed, still_held) == ({}, held)


def _handlers() -> dict[int, Any]:
    """Of all but SIGCHLD, for which torch's DataLoader and asyncio set their own for good."""
    watched = signal.valid_signals() - {signal.SIGCHLD}
    return {number: signal.getsignal(number) for number in watched}


@pytest.fixture(scope="session")
def web(request: pytest.FixtureRequest) -> None:
    """What takes minutes, of the service and the page: a smoke of each runs without.

    Of the session, so that it is asked for before a module's browser starts.
    """
    if not request.config.getoption("--web"):
        pytest.skip("minutes of the web, run it with --web")


@pytest.fixture
def card() -> "torch.device":
    """A GPU, for tests that need one."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip(skips.NO_GPU)
    return torch.device("cuda")


@pytest.fixture(scope="session")
def corpora_root() -> Path:
    """The folder with real speech (EmoDB, RAVDESS), which is not part of the project."""
    folder = Path(os.environ.get("SER_CORPORA") or ROOT.parent / "shared" / "corpora")
    if not folder.is_dir():
        pytest.skip(
            "no real corpora here, set SER_CORPORA to a folder that holds emodb/ and ravdess/"
        )
    return folder


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> "Colleague":
    """A small project in which every stage has run as users run it; copy it."""
    from tests.team import Colleague

    one = Colleague.found(tmp_path_factory.mktemp("begun") / "project")
    assert one.repro()[0] >= {"extract@fbank-demo", "evaluate"}
    return one


def settings() -> str:
    """The committed params.yaml.

    Of its tasks only emotion is active: tests' corpora have no raters, if they do not say so.
    """
    text = (ROOT / "params.yaml").read_text("utf-8").replace("  - heard\n  - affect\n", "")
    return text.replace("  - share\n  features:\n  - fbank\n", "  - share\n  features: []\n")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder as the working directory, with `settings`."""
    (tmp_path / "params.yaml").write_text(settings(), "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SER_SCRATCH", str(tmp_path / ".scratch"))
    return tmp_path


@pytest.fixture
def base(project: Path) -> Path:
    """A small untrained encoder."""
    from tests.speech import small_encoder

    return small_encoder(project / "encoder")


@pytest.fixture
def on_cpu(project: Path) -> Path:
    """The same project on the CPU, for tests that ask for its bits."""
    return on_device(project, "cpu")


def on_device(project: Path, device: str) -> Path:
    """Have what runs in ``project`` compute on ``device``."""
    path = project / "params.yaml"
    text = re.sub(r"(?m)^  device: \S+", f"  device: {device}", path.read_text("utf-8"))
    path.write_text(text, "utf-8")
    params.read.cache_clear()
    return project
