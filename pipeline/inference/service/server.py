"""The process: a port, the application on uvicorn, and its end."""

import asyncio
import logging
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

import uvicorn

from pipeline.inference.service import application
from pipeline.inference.service.connections import Http, Socket
from pipeline.inference.service.work import Work

# A message of a stream; half a minute of samples.
MESSAGE_BYTES = 2**20
# For the answers of what was at work to leave, and for a thread to see that nobody waits for it.
LAST_S = 5


class _Server(uvicorn.Server):
    """uvicorn's, but that it answers 503 while it ends what is at work, and then exits with 0."""

    def __init__(self, config: uvicorn.Config, work: Work) -> None:
        super().__init__(config)
        self._work = work
        self._end: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal asks; a second one does not wait. Runs in the loop's thread."""
        del sig, frame
        if self._end:
            self._work.abandon()
            self.should_exit = True
        else:
            self._end = asyncio.get_event_loop().create_task(self._stop())

    async def _stop(self) -> None:
        self._work.stopping.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._work.limits.stop_s):
                await self._work.idle()
        self._work.abandon()
        self.should_exit = True


def run(work: Work, at: socket.socket, token: str) -> None:
    """Serve until SIGTERM or Ctrl-C; what is at work then is finished within `Limits.stop_s`."""
    config = uvicorn.Config(
        application.make(work, token),
        http=Http,
        ws=Socket,
        ws_max_size=MESSAGE_BYTES,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=LAST_S,
    )
    _silence()
    _Server(config, work).run([at])
    work.desk.close(LAST_S)
    sys.stderr.write("stopped\n")
    sys.stderr.flush()
    # A decoder that does not end, which nothing else would end, ends here.
    os._exit(0)


def _silence() -> None:
    """Have stderr to ourselves: what libraries tell of a damaged file or form may be parts of it.

    libmpg123 writes there itself, others by `logging`, which does where there is no handler.
    """
    logging.getLogger().addHandler(logging.NullHandler())
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
