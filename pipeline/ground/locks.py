"""Locks between processes: a killed holder keeps no one out, and each says who it is."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from pipeline.ground.errors import PipelineError
from pipeline.ground.progress import say

_held: dict[Path, TextIO] = {}


@contextmanager
def locked(path: Path, name: str) -> Iterator[None]:
    """Keep other processes from doing ``name`` at once; ``path`` is the lock.

    Raises:
        PipelineError: Another process does it; its number is named.
    """
    with _opened(path) as file:
        if not _taken(file):
            raise PipelineError(
                f"{name}: process {_holder(file)} runs it already, wait for it or stop it"
            )
        yield


def hold(path: Path, name: str) -> None:
    """Have ``name`` to oneself until this process ends, after whoever has it now."""
    path = path.absolute()
    if path in _held:
        return
    file = _opened(path)
    if not _taken(file):
        say(f"{name}: process {_holder(file)} works there, waiting for it to end")
        fcntl.lockf(file, fcntl.LOCK_EX)
        _sign(file)
    _held[path] = file


def is_held(path: Path) -> bool:
    """Whether another process holds the lock."""
    with _opened(path) as file:
        return not _taken(file)


def _opened(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a+", encoding="utf-8")


def _taken(file: TextIO) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    _sign(file)
    return True


def _sign(file: TextIO) -> None:
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()


def _holder(file: TextIO) -> str:
    file.seek(0)
    return file.read() or "?"
