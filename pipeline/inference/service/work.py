"""What is at work: how much of it there may be, where it runs, and how it comes to an end."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pipeline.inference import listening
from pipeline.inference.api import Model
from pipeline.inference.judge import Judge
from pipeline.inference.listening import Manner
from pipeline.inference.service.desk import Desk
from pipeline.inference.service.limits import Limits, busy, stopping
from pipeline.inference.service.uploads import Purse, Upload
from pipeline.inference.timeline.opinions import Heard
from pipeline.work import pool

Result = TypeVar("Result")
REQUESTS, STREAMS = "requests", "streams"


class Work:
    """The requests and streams of a process; all but `listen` is of the event loop's thread.

    Attributes:
        model: What judges.
        limits: Of what it takes on.
        purse: The bytes of bodies.
        desk: Where clips are judged.
        count: Of each kind, how many are at work.
        stopping: Set once nothing new is taken on.
    """

    def __init__(self, model: Model, limits: Limits) -> None:
        self.model, self.limits = model, limits
        self.purse = Purse(limits.held_bytes)
        self.desk = Desk(model.judge)
        self.count = {REQUESTS: 0, STREAMS: 0}
        self.stopping = asyncio.Event()
        self._most = {REQUESTS: limits.at_work, STREAMS: limits.streams}
        self._gone: set[threading.Event] = set()
        self._threads = ThreadPoolExecutor(limits.at_work + limits.streams, "listen")
        # Decoded samples are many times their bytes: as many at once as there are cores.
        self._decoding = threading.Semaphore(pool.cores())

    def require_room(self, kind: str) -> None:
        """Refuse one more of a kind.

        Raises:
            HTTPException: 503, it is stopping; 429, there are too many.
        """
        if self.stopping.is_set():
            raise stopping()
        if self.count[kind] >= self._most[kind]:
            raise busy(f"{self._most[kind]} {kind} are at work already")

    @contextmanager
    def admitted(self, kind: str) -> Iterator[threading.Event]:
        """Count one more; what is given is to be set when nobody waits for it any more.

        Raises:
            HTTPException: As `require_room`.
        """
        self.require_room(kind)
        gone = threading.Event()
        self.count[kind] += 1
        self._gone.add(gone)
        try:
            yield gone
        finally:
            self.count[kind] -= 1
            self._gone.remove(gone)

    async def run(self, what: Callable[[], Result]) -> Result:
        """Have a thread do it; to its end, too, where whoever asks is cancelled."""
        done = asyncio.get_running_loop().run_in_executor(self._threads, what)
        try:
            return await asyncio.shield(done)
        finally:
            if not done.done():
                await asyncio.wait([done])

    def judge(self, gone: threading.Event) -> Judge:
        """For what was `admitted`."""
        return self.desk.judge(gone)

    def listen(self, uploads: list[Upload], manner: Manner, gone: threading.Event) -> list[Heard]:
        """What is heard in each recording, in order; of a thread of its own.

        Raises:
            PipelineError: One cannot be decoded, holds no speech, or all are too long.
            GoneError: Nobody waits for it.
        """
        found, left_s = [], self.limits.audio_s
        for one in uploads:
            name = Path(one.name)
            with self._decoding:
                sound = listening.recorded(one.place, name, left_s)
            found.append(listening.heard(self.judge(gone), name, sound, manner))
            left_s -= found[-1].duration_s
        return found

    async def idle(self) -> None:
        """Wait until nothing is at work."""
        while any(self.count.values()):
            await asyncio.sleep(0.02)

    def abandon(self) -> None:
        """Tell all that is left that nobody waits for it."""
        for gone in self._gone:
            gone.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
