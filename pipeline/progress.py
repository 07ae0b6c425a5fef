"""Progress of a long step: a live bar in a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

LINE_EVERY_S = 10.0


def track(items: Iterable[T], label: str, total: int, unit: str = "") -> Iterator[T]:
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


def say(message: str) -> None:
    """One plain line for the log, on stderr."""
    print(message, file=sys.stderr, flush=True)


def _bar(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(items, label, total, console=Console(stderr=True), transient=True)
