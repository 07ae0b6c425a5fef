"""Temporary folders that go however their process ends: what it leaves, the next one sweeps.

A process that is killed removes nothing. Each folder has a lock in it, which its process holds;
what nobody holds is swept. A folder of others, or without a lock, is left alone.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.ground import ending

HELD = ".held"


@contextmanager
def folder(beside: Path, prefix: str) -> Iterator[Path]:
    """A new folder below ``beside``, as `ending.folder`; before it, sweep those of lost processes.

    Args:
        beside: A folder of this machine.
        prefix: What the names of its kind begin with.
    """
    for left in beside.glob(f"{prefix}*"):
        with suppress(OSError):  # another user's, or another process sweeps it
            _sweep(left)
    with ending.folder(beside, prefix) as made, (made / f"{HELD}~").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        Path(lock.name).rename(made / HELD)  # so that it is locked as soon as it is there
        yield made


def _sweep(left: Path) -> None:
    if left.is_symlink() or left.stat().st_uid != os.geteuid():
        return
    with (left / HELD).open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for inner in left.iterdir():
            if inner.name != HELD:
                _remove(inner)
        # Last, so that what could not be removed yet is swept at another time.
        shutil.rmtree(left)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
