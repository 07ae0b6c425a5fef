"""Progress of a long step: a live bar in a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

LINE_EVERY_S = 10.0


def track(items: Iterable[T], label: str, total: int, unit: str) -> Iterator[T]:
    """Yield ``items`` and show how many of ``total`` are done, the rate and the time left."""
    if sys.stderr.isatty():
        yield from _bar(items, label, total)
        return
    start = shown = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - shown >= LINE_EVERY_S or done == total:
            shown = now
            rate = done / max(now - start, 1e-9)
            left = (total - done) / rate
            say(f"{label}: {done}/{total} {unit}, {rate:.1f}/s, {left:.0f} s left")


class Meter:
    """Progress through an amount of work whose steps differ; use it as a context manager.

    Args:
        label: What is going on.
        total: The amount of work.
        unit: Its unit.
        shown: False on a process that should print nothing.
    """

    def __init__(self, label: str, total: float, unit: str, shown: bool = True) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done = 0.0
        self._start = self._latest = time.monotonic()
        self._bar: Any = _live_bar() if shown and sys.stderr.isatty() else None
        self._every_s = 1.0 if self._bar else LINE_EVERY_S if shown else float("inf")

    def __enter__(self) -> "Meter":
        if self._bar:
            self._bar.start()
            self._bar.add_task(self._label, total=self._total)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, amount: float, note: Callable[[], str]) -> None:
        """Count ``amount`` as done; ``note`` is asked only when there is something to show."""
        self._done += amount
        now = time.monotonic()
        if now - self._latest < self._every_s:
            return
        self._latest = now
        rate = self._done / (now - self._start)
        left_s = (self._total - self._done) / rate
        line = f"{self._label}: {note()}, {rate:.1f} {self._unit}/s, {left_s:.0f} s left"
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=self._done, description=line)
        else:
            say(line)


def say(message: str) -> None:
    """One plain line for the log, on stderr."""
    print(message, file=sys.stderr, flush=True)


def _bar(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(items, label, total, console=Console(stderr=True), transient=True)


def _live_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
