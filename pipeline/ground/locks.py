"""Locks between processes, and the scratch store, whose folders belong to one at a time.

A killed holder keeps no one out, and each says who it is. Unfinished work that a later run may
resume lies in the scratch store, outside every output, under a digest of all that determines it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from pipeline.ground.errors import PipelineError
from pipeline.ground.files import digest
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


def release(folder: Path) -> None:
    """Let others have a folder of the scratch store, before this process ends."""
    if file := _held.pop(scratch_lock(folder).absolute(), None):
        file.close()


def scratch_root() -> Path:
    """Where unfinished work lies: ``SER_SCRATCH``, or ``.scratch`` in the project."""
    return Path(os.environ.get("SER_SCRATCH") or ".scratch")


def scratch(key: object) -> Path:
    """The folder for unfinished work that ``key`` (params, code and inputs) determines.

    It is this process's alone until it ends or calls `release`: another project with the same
    ``SER_SCRATCH`` waits.
    """
    folder = scratch_root() / digest(key)
    if os.environ.get("RANK", "0") == "0":  # processes that torchrun started together are one run
        hold(scratch_lock(folder), str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def scratch_lock(folder: Path) -> Path:
    """The lock of a folder of the scratch store, outside it, since it may be deleted."""
    return folder.parent / "locks" / folder.name


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
