"""Work on many items at once: forked processes on the CPU.

Processes inherit the work and the items, with all that they need (a loaded encoder, say), and share
their memory; nothing but results is copied. They end when their parent does, however it ends.

Each has a pipe of its own and the parent has no thread that waits: nothing is shared that a killed
process could leave locked or half written.
"""

import ctypes
import multiprocessing
import os
import pickle
import selectors
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from pipeline.ground import ending
from pipeline.ground.errors import PipelineError

Item = TypeVar("Item")
Result = TypeVar("Result")

# Results that wait for the one before them; beyond this no further item is begun.
WAITING_BYTES = 2**26
_PR_SET_PDEATHSIG = 1


def cores() -> int:
    """The CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def forked(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Yield ``work(item)`` in order; up to ``workers`` processes, none for 0 or 1.

    The parent must not have computed with several threads before: OpenMP does not survive a fork.
    Memory does not grow with the number of items, however slowly results are taken.

    Raises:
        PipelineError: A process was killed from outside; also whatever ``work`` raises.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        yield from map(work, items)
        return
    pool = _Pool()
    with ending.undone(pool.end):
        for _ in range(workers):
            pool.start(work, items)
        yield from pool.results(len(items))


class _Pool:
    """Processes that each wait for the number of an item and answer with what became of it."""

    def __init__(self) -> None:
        self._processes: dict[Connection, BaseProcess] = {}
        self._begun: dict[Connection, deque[int]] = {}
        self._answers = selectors.DefaultSelector()

    def start(self, work: Callable[[Any], Any], items: Sequence[Any]) -> None:
        context = multiprocessing.get_context("fork")
        here, there = context.Pipe()
        arguments = there, work, items, os.getpid()
        process = context.Process(target=_serve, args=arguments, daemon=True)
        with ending.held():
            process.start()
            self._processes[here] = process
        there.close()
        self._begun[here] = deque()
        self._answers.register(here, selectors.EVENT_READ)

    def results(self, count: int) -> Iterator[Any]:
        """What the work makes of each item, in order."""
        first = waiting_bytes = 0
        waiting: dict[int, bytes] = {}
        for turn in range(count):
            looked = False
            while turn not in waiting or not looked:
                if waiting_bytes < WAITING_BYTES:
                    first = self._begin(first, count)
                looked = True
                for key, _ in self._answers.select(0 if turn in waiting else None):
                    number, found = self._answer(key.fileobj)
                    waiting[number] = found
                    waiting_bytes += len(found)
            found = waiting.pop(turn)
            waiting_bytes -= len(found)
            yield result(found)

    def _begin(self, first: int, count: int) -> int:
        """Hand out items from ``first`` on: one to each, then one more, so that none waits for us.

        The last ones are for whoever is done first. Return the next that is left.
        """
        for depth, kept in ((1, 0), (2, 2 * len(self._begun))):
            for here, numbers in self._begun.items():
                if len(numbers) < depth and first < count - kept:
                    with self._killed(here):
                        here.send(first)
                    numbers.append(first)
                    first += 1
        return first

    def _answer(self, here: Any) -> tuple[int, bytes]:
        with self._killed(here):
            return self._begun[here].popleft(), here.recv_bytes()

    @contextmanager
    def _killed(self, here: Connection) -> Iterator[None]:
        """Say so where the process at the other end is no more."""
        try:
            yield
        except (EOFError, OSError):
            process = self._processes[here]
            process.kill()  # where it is no more, its own status stays
            process.join()
            raise PipelineError(
                f"a worker process was killed ({_how(process.exitcode or 0)}), perhaps for lack of "
                "memory: lower runtime.workers and run it again, it resumes"
            ) from None

    def end(self) -> None:
        """Kill every process and wait until it is gone."""
        with ending.held():
            for process in self._processes.values():
                process.kill()
            for here, process in self._processes.items():
                process.join()
                here.close()
            self._answers.close()


def _how(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _serve(
    there: Connection, work: Callable[[Any], Any], items: Sequence[Any], parent: int
) -> None:
    """Leave Ctrl-C to the parent, end with it, and answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ending.SIGNALS)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with suppress(EOFError, OSError):  # it ended
        while os.getppid() == parent:
            there.send_bytes(answer(work, items[there.recv()]))


def answer(work: Callable[[Any], Any], item: Any) -> bytes:
    """What ``work`` makes of an item, or what it raises, to be sent to who calls `result`."""
    try:
        return pickle.dumps((work(item), None), pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001
        return failure(error)


def failure(error: Exception) -> bytes:
    """An answer that says what was raised."""
    told = "".join(traceback.format_exception(error))
    error.add_note(told)
    try:
        answer = pickle.dumps((None, error))
        pickle.loads(answer)  # noqa: S301
    except Exception:  # noqa: BLE001
        return pickle.dumps((None, RuntimeError(told)))
    return answer


def result(answer: bytes) -> Any:
    """What `answer` was made of: returned, or raised."""
    made, error = pickle.loads(answer)  # noqa: S301
    if error is not None:
        raise error
    return made
