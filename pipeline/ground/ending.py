"""How a process ends; by Ctrl-C and SIGTERM with one line and its status, wherever they find it.

A handler that raises does so inside whatever runs: an import, a finaliser, which swallows it, a
fork before the child is known. This one raises nothing. It undoes what is under way (`undone`) and
ends the process where it stands, as a kill would, which outputs and the scratch store survive.
"""

import atexit
import contextlib
import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
SIGNALS = tuple(_WORDS)
# Of a terminal, whose cursor a live bar hides: to the line's begin, clear it, show the cursor.
_BAR_OFF = "\r\x1b[K\x1b[?25h"

_under_way: list[Callable[[], None]] = []
_process = 0


def collect_seldom() -> None:
    """Look for cycles of objects seldom, and not at the end: what imports make stays till then.

    With PyTorch and transformers they are a million. Of 5.7 s of CPU, in which a process imports
    both and ends, the search took 1.7 s.
    """
    gc.set_threshold(10_000)
    atexit.register(gc.freeze)


def take_signals() -> None:
    """End this process by `SIGNALS` from now on, with 130 and 143; an ignored one stays so."""
    global _process  # noqa: PLW0603
    _process = os.getpid()
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def ignore_signals() -> None:
    """Let what little is left be done, the interpreter's own end included."""
    with held():
        # Python shows a traceback of a signal that came before it is ignored and is handled after.
        for handler in (lambda *_: None, signal.SIG_IGN):
            for number in SIGNALS:
                signal.signal(number, handler)


@contextlib.contextmanager
def undone(undo: Callable[[], None]) -> Iterator[None]:
    """Call ``undo`` at the end of the block, or before the process ends by a signal within it.

    The signal may come at any point of the block, and of ``undo`` itself, which then runs again.
    """
    _under_way.append(undo)
    try:
        yield
    finally:
        try:
            undo()
        finally:
            _under_way.remove(undo)


@contextlib.contextmanager
def folder(beside: Path | None = None, prefix: str = "ser-") -> Iterator[Path]:
    """A new folder, the user's alone, in the system's temporary one; or below ``beside``.

    It goes at the end of the block, or before the process ends by a signal within it.
    """
    path = (beside or Path(tempfile.gettempdir())) / f"{prefix}{os.urandom(8).hex()}"
    with undone(partial(shutil.rmtree, path, ignore_errors=True)):
        path.mkdir(0o700)
        yield path


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Keep `SIGNALS` from this thread for a block, and from a child that it forks there."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    try:
        if os.getpid() == _process:  # not a fork that has no handlers of its own yet
            ignore_signals()
            # The interrupted code may hold the lock of sys.stderr.
            line = f"{_WORDS[signal.Signals(number)]}, run it again to resume\n"
            os.write(2, ((_BAR_OFF if os.isatty(2) else "") + line).encode())
            for undo in reversed(_under_way):
                with contextlib.suppress(Exception):
                    undo()
    finally:
        os._exit(128 + number)
