"""What every request passes: who may ask, what is counted, and how a defect is told.

Without a token the service is for programs of this machine. A page of another site that a browser
shows here is none of them: it is refused by its ``Origin``, and by ``Host`` where its name was made
to lead here (DNS rebinding).
"""

import hmac
import re
import sys
import time
import traceback
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.inference.service.address import is_loopback
from pipeline.inference.service.desk import GoneError
from pipeline.inference.service.metrics import GONE, Metrics

# Asked by what starts and watches containers, and says nothing.
OPEN = ("/health",)
PATHS = ("/predict", "/stream", "/health", "/metrics", "/openapi.json")
_PORT = re.compile(r":\d*$")
_DEFECT = "service: a defect of it, see its log and report it"


@dataclass(frozen=True)
class Door:
    """The outermost layer of the application; without a ``token`` all of this machine may ask."""

    app: ASGIApp
    metrics: Metrics
    token: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        start, code = time.monotonic(), GONE

        async def counted(message: Message) -> None:
            nonlocal code
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                code = str(message["status"])
            elif message["type"] == "websocket.accept":
                code = "101"
            await send(message)

        try:
            self._require_access(scope)
            await self.app(scope, receive, counted)
        except HTTPException as error:
            answer = JSONResponse({"detail": error.detail}, error.status_code, error.headers)
            await answer(scope, receive, counted)
        except (ClientDisconnect, GoneError):
            pass
        except Exception as error:  # noqa: BLE001 - whatever it is, the service lives
            _log(error)
            if code == GONE:
                await JSONResponse({"detail": _DEFECT}, 500)(scope, receive, counted)
            elif scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1011, "reason": "a defect"})
        finally:
            path = scope["path"] if scope["path"] in PATHS else "other"
            self.metrics.requests.labels(path, code).inc()
            if scope["type"] == "http":
                self.metrics.seconds.labels(path).observe(time.monotonic() - start)

    def _require_access(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            raise HTTPException(
                403, "origin: expected a page of this service, got another's, use a program"
            )
        if self.token and scope["path"] not in OPEN:
            given = headers.get("authorization", "").encode("latin-1")
            if not hmac.compare_digest(given, f"Bearer {self.token}".encode()):
                raise HTTPException(
                    401,
                    "authorization: expected Bearer and the service's token, send it",
                    {"WWW-Authenticate": "Bearer"},
                )
        if not self.token and not is_loopback(_PORT.sub("", host).strip("[]")):
            raise HTTPException(403, "host: expected localhost or its address, use that")


def _log(error: Exception) -> None:
    """Where it happened. What it says may hold what was sent."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
    sys.stderr.write(f"defect: {type(error).__name__} in {places}\n")
