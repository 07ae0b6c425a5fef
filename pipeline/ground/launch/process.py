"""A command that ends when this process does, by Ctrl-C, SIGTERM or a kill."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO

from pipeline.ground import ending
from pipeline.ground.launch.prefix import LAUNCHED

# torchrun gives its processes 30 seconds to end, Slurm its jobs as many.
GRACE_S = 60.0
LOOK_EVERY_S = 0.2
# Else processes that torchrun restarts look for each other where those before them were
# (pytorch/pytorch#135712).
_ANEW = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
# What is told beside this process's environment: a stage that is launched launches nothing.
LAUNCH = {LAUNCHED: "1"}
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@contextlib.contextmanager
def started(
    words: Sequence[str],
    stdin: IO[bytes] | int = subprocess.DEVNULL,
    stdout: IO[bytes] | None = None,
    stderr: IO[bytes] | None = None,
    stop: Callable[[subprocess.Popen[bytes]], None] = subprocess.Popen.terminate,
    environment: Mapping[str, str] = LAUNCH,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command, which does not outlive the block: ``stop`` is to end it.

    It has a process group of its own: a terminal's Ctrl-C reaches it by way of this process alone.
    """
    found: list[subprocess.Popen[bytes]] = []

    def end() -> None:
        for process in found:
            if not _has_ended(process.pid):
                stop(process)
                _await_end(process.pid)

    with ending.undone(end):
        with ending.held():
            found.append(
                subprocess.Popen(
                    words,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    env={**_ANEW, **os.environ, **environment},
                    preexec_fn=_begin,  # noqa: PLW1509
                    process_group=0,
                )
            )
        yield found[0]


def _begin() -> None:
    # Also where this process ignores them, as a shell's background jobs do Ctrl-C.
    for number in ending.SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ending.SIGNALS)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _await_end(process: int) -> None:
    stop = time.monotonic() + GRACE_S
    while not _has_ended(process):
        if time.monotonic() > stop:
            os.killpg(process, signal.SIGKILL)
        time.sleep(LOOK_EVERY_S)


def _has_ended(process: int) -> bool:
    """Asked of the system: a signal may have come while Popen waits, which holds its lock."""
    try:
        how = os.WEXITED | os.WNOWAIT | os.WNOHANG
        return os.waitid(os.P_PID, process, how) is not None
    except ChildProcessError:
        return True


def how(status: int) -> str:
    """What ended a command, by its `returncode`."""
    return signal.Signals(-status).name if status < 0 else f"status {status}"
