"""The pool: the same as `map`, and signals and kills at random moments end it whole.

`make kills` sends a thousand signals and kills a hundred workers; `make test` takes a sample.
"""

import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from pipeline.ground import files, stage
from pipeline.ground.errors import PipelineError
from pipeline.work import pool
from tests.faults.test_preprocess_faults import group_members, wait_for_none
from tests.patience import PATIENCE_S

SMALL, LARGE = 0, 3_000_000
LONGEST_S = 0.1
Send = Callable[[int, signal.Signals], None]


def endless(size: int) -> Callable[[], None]:
    """A stage whose workers never run out of work, and which looks at every result."""

    def work(item: int) -> Any:
        return np.full(size, item % 251, np.uint8) if size else item

    def main() -> None:
        with files.publish(Path("artifacts/made")) as staged:
            staged.mkdir()
            Path("began").touch()
            for item, result in enumerate(pool.forked(work, range(10**7), 2)):
                assert (result == item) if size == SMALL else np.all(result == item % 251)
                (staged / str(item % 10)).touch()

    return main


def start(project: Path, main: Callable[[], None]) -> int:
    """Run it as a stage, in a process group of its own, and wait until it is under way."""
    began = project / "began"
    began.unlink(missing_ok=True)
    sys.stdout.flush()
    child = os.fork()
    if not child:
        _be_the_stage(project, main)
    while not began.exists():
        assert os.waitpid(child, os.WNOHANG) == (0, 0), (project / "stderr").read_text()
        time.sleep(0.001)
    return child


def _be_the_stage(project: Path, main: Callable[[], None]) -> NoReturn:
    status = 70
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(project / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        sys.stderr, sys.argv = open(2, "w", encoding="utf-8", closefd=False), ["made"]  # noqa: SIM115
        stage.run(main)
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:  # noqa: BLE001
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


def require_end(project: Path, child: int, status: int, line: str) -> None:
    """The stage ends with that status and that line, and leaves neither process nor output."""
    deadline = time.monotonic() + PATIENCE_S
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("it hangs")
        time.sleep(0.001)
    told = (project / "stderr").read_text("utf-8")
    assert (os.waitstatus_to_exitcode(ended[1]), told) == (status, f"{line}\n")
    wait_for_none(child)
    assert not (project / "artifacts/made").exists()
    assert not any(files.STAGING.iterdir())


@pytest.fixture
def times(request: pytest.FixtureRequest) -> Callable[[int, int], Iterator[float]]:
    """Random delays in seconds, few or many."""

    def draw(few: int, many: int) -> Iterator[float]:
        seed = random.Random(request.node.name)
        number = many if request.config.getoption("--long") else few
        return (seed.uniform(0, LONGEST_S) for _ in range(number))

    return draw


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize(
    ("number", "send", "status", "word"),
    [
        (signal.SIGINT, os.killpg, 130, "interrupted"),
        (signal.SIGINT, os.kill, 130, "interrupted"),
        (signal.SIGTERM, os.kill, 143, "terminated"),
        (signal.SIGTERM, os.killpg, 143, "terminated"),
    ],
)
def test_a_signal_at_any_moment_is_one_line_and_its_status(  # noqa: PLR0917
    project: Path,
    number: signal.Signals,
    send: Send,
    status: int,
    word: str,
    size: int,
    times: Callable[[int, int], Iterator[float]],
) -> None:
    for delay_s in times(3, 125):
        child = start(project, endless(size))
        time.sleep(delay_s)
        send(child, number)
        require_end(project, child, status, f"{word}, run it again to resume")


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_killed_worker_is_one_line(
    project: Path, size: int, times: Callable[[int, int], Iterator[float]]
) -> None:
    for number, delay_s in enumerate(times(3, 50)):
        child = start(project, endless(size))
        while len(workers := set(group_members(child)) - {child}) < 2:
            time.sleep(0.001)
        time.sleep(delay_s)
        os.kill(sorted(workers)[number % 2], signal.SIGKILL)
        line = (
            "a worker process was killed (SIGKILL), perhaps for lack of memory: lower "
            "runtime.workers and run it again, it resumes"
        )
        require_end(project, child, 1, line)


def test_workers_end_with_a_killed_parent(project: Path) -> None:
    child = start(project, endless(LARGE))
    while len(group_members(child)) < 3:
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    wait_for_none(child)


@pytest.mark.parametrize("workers", [0, 1, 2, 5, 40])
@pytest.mark.parametrize("number", [0, 1, 2, 30])
def test_it_is_map(workers: int, number: int) -> None:
    items = [os.urandom(size) for size in range(0, 7 * number, 7)]
    assert list(pool.forked(bytes.hex, items, workers)) == [item.hex() for item in items]


def test_large_results_are_whole_and_in_order() -> None:
    for item, result in enumerate(pool.forked(lambda i: np.full(LARGE, i, np.uint8), range(9), 3)):
        assert result.shape == (LARGE,)
        assert np.all(result == item)


class OddError(Exception):
    """It can be pickled and not be read back."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__("odd")


def fails(item: int) -> Any:
    if item == 3:
        raise PipelineError("three: not allowed")
    if item == 5:
        raise OddError(1, 2)
    if item == 7:
        return lambda: 7
    if item == 9:
        os._exit(3)
    return item


@pytest.mark.parametrize(
    ("item", "kind", "words"),
    [
        (3, PipelineError, "^three: not allowed"),
        (5, RuntimeError, "OddError: odd"),
        (7, Exception, "pickle"),
        (9, PipelineError, r"killed \(exit status 3\)"),
    ],
)
def test_what_is_raised_for_an_item_is_raised_in_its_turn(
    item: int, kind: type[Exception], words: str
) -> None:
    results = pool.forked(fails, [0, 1, 2, item, 4], 2)
    if item != 9:  # a process that ends takes what it had begun with it
        assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(kind, match=words):
        list(results)
    assert multiprocessing.active_children() == []


def test_no_process_outlives_one_who_takes_no_more() -> None:
    for result in pool.forked(str, range(1000), 2):
        assert result == "0"
        break
    assert multiprocessing.active_children() == []


def test_an_interrupt_that_raises_leaves_no_process() -> None:
    """As in a notebook, which has no handlers of ours."""
    results = pool.forked(str, range(1000), 2)
    next(results)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        for _ in results:
            signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)
    del results
    assert multiprocessing.active_children() == []


def test_what_waits_for_its_turn_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first item takes until the others are all begun, or no more are."""
    monkeypatch.setattr(pool, "WAITING_BYTES", 10_000)

    def work(item: int) -> bytes:
        (tmp_path / str(item)).touch()
        deadline = time.monotonic() + 0.5
        while item == 0 and begun() < 100 and time.monotonic() < deadline:
            time.sleep(0.01)
        return bytes(1_000)

    def begun() -> int:
        return len(list(tmp_path.iterdir()))

    results = pool.forked(work, range(100), 2)
    next(results)
    # What fills the bound, and two for each process.
    assert begun() <= 10 + 4
    assert len(list(results)) == 99
