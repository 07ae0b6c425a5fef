"""Clips of all requests, judged by one thread, each in its turn.

Whoever listens to a recording hands in one clip, waits for its logits, and hands in the next: so
requests take turns clip by clip, and a short recording never waits for the end of a long one.
Each clip passes the model alone. Padded to a batch it would differ by rounding from what
`ser predict` says, and on a CPU that is no faster (docs/serving.md).
"""

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from pipeline.audio.formats import Samples
from pipeline.inference.judge import Floats, Judge


class GoneError(Exception):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True)
class _Turn:
    waves: Sequence[Samples]
    gone: threading.Event
    rows: "Future[Floats]" = field(default_factory=Future)


class Desk:
    """A judge's only user.

    Attributes:
        clips: How many it has judged.
    """

    def __init__(self, judge: Judge) -> None:
        self.clips = 0
        self._judge = judge
        self._turns: queue.SimpleQueue[_Turn | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="desk", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many clips wait for their turn."""
        return self._turns.qsize()

    def judge(self, gone: threading.Event) -> Judge:
        """The judge for one request, from any thread; from ``gone`` on it raises `GoneError`."""

        def rows(waves: Sequence[Samples]) -> Floats:
            turn = _Turn(waves, gone)
            self._turns.put(turn)
            return turn.rows.result()

        return self._judge.through(rows)

    def close(self, patience_s: float) -> None:
        """End the thread once all turns before are over, or give it up."""
        self._turns.put(None)
        self._thread.join(patience_s)

    def _work(self) -> None:
        while turn := self._turns.get():
            try:
                if turn.gone.is_set():
                    raise GoneError
                turn.rows.set_result(self._judge.rows(turn.waves))
                self.clips += len(turn.waves)
            except BaseException as error:  # noqa: BLE001 - it belongs to who waits
                turn.rows.set_exception(error)
