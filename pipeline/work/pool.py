"""Work on many items at once: forked processes on the CPU, threads beside a GPU.

Processes inherit what the work needs (a loaded encoder, say) and share its memory; nothing but the
items and results is copied. They end when their parent does, however it ends.
"""

import ctypes
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from pipeline.ground.errors import PipelineError

Item = TypeVar("Item")
Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1
_work: Callable[[Any], Any]


def forked(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Yield ``work(item)`` in order; up to ``workers`` processes, none for 0 or 1.

    The parent must not have computed with several threads before: OpenMP does not survive a fork.

    Raises:
        PipelineError: A process was killed from outside; also whatever ``work`` raises.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        yield from map(work, items)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, context, _start, (work,)) as pool:
        try:
            yield from _results(pool, _call, items)
        except BaseException as error:
            children = multiprocessing.active_children()
            for child in children:
                child.terminate()
            for child in children:
                child.join()
            if isinstance(error, BrokenProcessPool):
                raise PipelineError(
                    "a worker process was killed, perhaps for lack of memory: lower "
                    "runtime.workers and run it again, it resumes"
                ) from None
            raise


def threaded(
    work: Callable[[Item], Result], items: Sequence[Item], threads: int
) -> Iterator[Result]:
    """Yield ``work(item)`` in order, by threads of this process."""
    with ThreadPoolExecutor(threads) as pool:
        yield from _results(pool, work, items)


def _results(
    pool: Executor, work: Callable[[Any], Result], items: Sequence[Any]
) -> Iterator[Result]:
    futures = [pool.submit(work, item) for item in items]
    try:
        for future in futures:
            yield future.result()
    except BaseException:
        # Not future.cancel(): a pool whose processes end meets cancelled futures with a traceback.
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def _start(work: Callable[[Any], Any]) -> None:
    """Leave Ctrl-C to the parent, and end with it."""
    global _work  # noqa: PLW0603
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _call(item: Any) -> Any:
    return _work(item)
