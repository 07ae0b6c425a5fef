"""Every stage is killed: at its writes and renames, in the middle of a write, at random times.

No partial output may ever be seen, and the next run, without any clean-up, must end in the same
bytes. `make kills` kills each stage at every one of its writes; `make test` takes a few.
"""

import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import chain
from tests.faults.chain import STEPS, SYNTHESIZE, Step

RANDOM_KILLS = 8  # of each stage, besides those at its writes; half by time, half within a file
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod")
OLD = b"what an earlier run left"

Prepare = Callable[[], None]


def at_write(number: int, count: Path | None = None) -> Prepare:
    """Die before the given change of the file system (from 1), by SIGKILL; or count them all."""

    def prepare() -> None:
        seen = 0

        def change() -> None:
            nonlocal seen
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
            if count:
                os.truncate(log, 0)
                os.pwrite(log, str(seen).encode(), 0)

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event in CHANGES or (event == "open" and (arguments[2] or 0) & WRITING):
                counting = count and event == "os.truncate"
                if not counting and arguments[0] != os.devnull:
                    change()

        def flushing(flush: Callable[..., None]) -> Callable[..., None]:
            def flushed(*arguments: int) -> None:
                change()
                flush(*arguments)

            return flushed

        log = os.open(count, os.O_RDWR | os.O_CREAT) if count else -1
        os.fsync, os.sync = flushing(os.fsync), flushing(os.sync)
        sys.addaudithook(hook)

    return prepare


def within_a_file(size: int) -> Prepare:
    """Die as soon as a file grows beyond ``size`` bytes: in a write of any library."""

    def prepare() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return prepare


def nothing() -> None:
    pass


class Trial:
    """One stage in one copy of the project, killed and run again."""

    def __init__(self, project: Path, step: Step) -> None:
        self.project, self.step = project, step
        self.expected = chain.contents(project, step)
        if not self.expected:  # of `synthesize`, whose corpus the chain does not use
            self.rerun()
            self.expected = chain.contents(project, step)

    def kill(self, prepare: Prepare, delay_s: float | None, old: bool) -> bool:
        """Kill it once; check what is seen then, and what the next run makes of it."""
        chain.remove(self.project, self.step)
        if old:
            self._leave_old()
        child = chain.start(self.project, self.step, prepare)
        if delay_s is not None:
            time.sleep(delay_s)
            os.kill(child, signal.SIGKILL)
        status, told = chain.wait(self.project, child)
        assert status in (0, -signal.SIGKILL, -signal.SIGXFSZ), told
        self._require_whole()
        self.rerun()
        assert chain.contents(self.project, self.step) == self.expected
        assert chain.leftovers(self.project) == []
        return status != 0

    def rerun(self) -> None:
        status, told = chain.run(self.project, self.step)
        assert status == 0, told

    def _leave_old(self) -> None:
        for output in self.step.outputs:
            path = self.project / output
            is_file = path.suffix != "" or output in self.expected
            path = path if is_file else path / "old"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(OLD)

    def _require_whole(self) -> None:
        """Each output is absent, as an earlier run left it, or as it must become."""
        for output in self.step.outputs:
            held = chain.contents(self.project, Step("", (output,)))
            if held and set(held.values()) != {OLD}:
                whole = self.expected.items()
                assert held == {k: v for k, v in whole if f"{k}/".startswith(f"{output}/")}


def counted(project: Path, step: Step) -> tuple[int, float]:
    """How often the stage changes the file system, and the seconds it takes."""
    chain.remove(project, step)
    log, began = project / "count", time.monotonic()
    status, told = chain.run(project, step, at_write(-1, log))
    assert status == 0, told
    return int(log.read_text()), time.monotonic() - began


def plan(
    step: Step, changes: int, took_s: float, largest: int
) -> Iterator[tuple[Prepare, float | None]]:
    """Every kill of a stage: at each change, then at random times and sizes."""
    draw = random.Random(step.name)
    yield from ((at_write(number), None) for number in range(1, changes + 1))
    for number in range(RANDOM_KILLS):
        if number % 2:
            yield within_a_file(draw.randrange(largest)), None
        else:
            yield nothing, draw.uniform(0, took_s)


@pytest.mark.parametrize("step", [SYNTHESIZE, *STEPS], ids=lambda step: step.name)
def test_a_killed_stage_leaves_nothing_half_done_and_runs_again(
    copied: Path, step: Step, request: pytest.FixtureRequest, tell: Callable[[str, int], None]
) -> None:
    if step is SYNTHESIZE:
        chain.remove(copied, step)
    trial = Trial(copied, step)
    changes, took_s = counted(copied, step)
    assert changes >= 3 * len(step.outputs)  # it opens, flushes and renames each
    largest = max(map(len, trial.expected.values()))
    kills = list(plan(step, changes, took_s, largest))
    if not request.config.getoption("--long"):
        draw = random.Random(step.name)
        kills = [kills[draw.randrange(changes)], (within_a_file(largest // 2), None)]
    hit = [trial.kill(*kill, old=bool(number % 2)) for number, kill in enumerate(kills)]
    assert any(hit)
    tell("kills", sum(hit))
