"""`/stream`: samples in, opinions out, while they come.

The generator of `listening.stream` runs in a thread, which asks the event loop for the next message
when it needs one: nothing is read ahead of what is judged, however fast a client sends.
"""

import asyncio
import json
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from pipeline.audio.formats import SAMPLE_RATE_HZ
from pipeline.inference import listening
from pipeline.inference.service.desk import GoneError
from pipeline.inference.service.metrics import Metrics
from pipeline.inference.service.work import STREAMS, Work
from pipeline.inference.timeline.formats import plain

EVERY_S = 1.0
# Codes of RFC 6455: the end; away; of a kind that is not read; against the rules (too slow).
_END, _AWAY, _KIND, _RULE = 1000, 1001, 1003, 1008

Result = TypeVar("Result")


class _ClosedError(Exception):
    """The stream ends for a reason that the client is told."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


async def serve(socket: WebSocket, work: Work, metrics: Metrics) -> None:
    """An opinion a second, until an empty message says that no more samples come.

    What is refused is refused before the handshake: 422, the rate is none; 429, too many streams;
    503, it is stopping.
    """
    try:
        rate_hz = _rate(socket.query_params.get("rate", str(SAMPLE_RATE_HZ)))
        work.require_room(STREAMS)
    except HTTPException as error:
        answer = JSONResponse({"detail": error.detail}, error.status_code, error.headers)
        return await socket.send_denial_response(answer)
    with work.admitted(STREAMS) as gone:
        await socket.accept()
        loop = asyncio.get_running_loop()

        def here(what: Coroutine[Any, Any, Result]) -> Result:
            return asyncio.run_coroutine_threadsafe(what, loop).result()

        def pieces() -> Iterator[bytes]:
            while piece := here(_next(socket, work)):
                metrics.audio.inc(len(piece) / 2 / rate_hz)
                yield piece

        def judge() -> None:
            opinions = listening.stream(
                work.judge(gone),
                pieces(),
                rate_hz,
                min(listening.STREAM_S, work.model.cutting.max_clip_s),
                EVERY_S,
            )
            for one in opinions:
                here(_send(socket, json.dumps(plain(one), ensure_ascii=False), work.limits.body_s))

        try:
            await work.run(judge)
            code, reason = (_AWAY, "stopping") if work.stopping.is_set() else (_END, "")
        except _ClosedError as told:
            code, reason = told.code, told.reason
        except (WebSocketDisconnect, GoneError):
            return
        await socket.close(code, reason)


def _rate(text: str) -> int:
    rates_hz = listening.RATES_HZ
    if not (text.isascii() and text.isdecimal() and int(text[:9]) in rates_hz):
        span = f"{rates_hz[0]} to {rates_hz[-1]}"
        raise HTTPException(422, f"rate: expected {span} samples a second, got {text[:20]!r}")
    return int(text)


async def _next(socket: WebSocket, work: Work) -> bytes:
    """The next samples; none once the client has ended, or the service stops."""
    message = asyncio.ensure_future(socket.receive())
    stop = asyncio.ensure_future(work.stopping.wait())
    await asyncio.wait([message, stop], timeout=work.limits.idle_s, return_when="FIRST_COMPLETED")
    stop.cancel()
    if not message.done():
        message.cancel()
        if work.stopping.is_set():
            return b""
        raise _ClosedError(_RULE, f"no samples for {work.limits.idle_s:g} s")
    told = message.result()
    if told["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(told.get("code", _AWAY))
    if (samples := told.get("bytes")) is None:
        raise _ClosedError(_KIND, "expected binary messages of 16-bit samples")
    return bytes(samples)


async def _send(socket: WebSocket, text: str, patience_s: float) -> None:
    try:
        async with asyncio.timeout(patience_s):
            await socket.send_text(text)
    except TimeoutError:
        raise WebSocketDisconnect(_AWAY) from None
