"""Connections that end when their client does nothing: uvicorn alone waits for it for ever.

It has no bound for the head of a request, for what is left of a body after the answer, nor for an
answer that nobody takes. With one, a client that is slow, half closed or asleep holds a descriptor
for a while, and nothing else.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

# For the head of a request, from the connection or the answer before on.
HEAD_S = 10.0
# For 64 KiB of an answer to be taken.
TAKEN_S = 30.0
_NO_HTTP = b'{"detail": "request: expected HTTP/1.1, got something else, send that"}'


class _Taken(asyncio.Protocol):
    """Cuts a connection whose other end does not read what is written."""

    transport: Any
    _taken: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """As asyncio calls it."""
        super().pause_writing()
        loop = asyncio.get_running_loop()
        self._taken = self._taken or loop.call_later(TAKEN_S, self.transport.abort)

    def resume_writing(self) -> None:
        """As asyncio calls it."""
        super().resume_writing()
        if self._taken:
            self._taken.cancel()
            self._taken = None

    def connection_lost(self, exc: Exception | None) -> None:
        """As asyncio calls it."""
        if self._taken:
            self._taken.cancel()
        super().connection_lost(exc)


class Http(_Taken, H11Protocol):
    """uvicorn's, with bounds."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """As asyncio calls it."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """As asyncio calls it."""
        super().data_received(data)
        if self._head and self._is_at_work():
            self._head.cancel()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """As uvicorn calls it; from then on `Socket` has the connection."""
        if self._head:
            self._head.cancel()
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """As uvicorn calls it, of what is no HTTP; here, too, the answer is JSON."""
        del msg
        headers = {"content-type": "application/json", "content-length": str(len(_NO_HTTP))}
        headers |= {"connection": "close"}
        answer = h11.Response(status_code=400, headers=list(headers.items()), reason=b"Bad Request")
        for event in (answer, h11.Data(data=_NO_HTTP), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.close()

    def on_response_complete(self) -> None:
        """As uvicorn calls it."""
        super().on_response_complete()
        if not self._is_at_work():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """As asyncio calls it."""
        if self._head:
            self._head.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._head:
            self._head.cancel()
        self._head = self.loop.call_later(HEAD_S, self._end)

    def _is_at_work(self) -> bool:
        """Whether a request's head is whole and its answer is not."""
        return self.cycle is not None and not self.cycle.response_complete

    def _end(self) -> None:
        if not self._is_at_work():
            self.transport.abort()


class Socket(_Taken, WebSocketsSansIOProtocol):
    """uvicorn's, with bounds; its pings end what no longer answers."""
