"""The application: `/predict`, `/stream`, `/health`, `/metrics` and the document of them.

It keeps nothing: bodies lie in memory and go with their request, and no log has what was sent or
said.
"""

import asyncio
import threading
from contextlib import ExitStack
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Query, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException

from pipeline.audio.recording import RejectedError
from pipeline.ground.errors import PipelineError
from pipeline.inference.listening import FIXED, Manner
from pipeline.inference.service import documents, streams
from pipeline.inference.service.desk import GoneError
from pipeline.inference.service.door import Door
from pipeline.inference.service.limits import stopping, too_long
from pipeline.inference.service.metrics import Metrics
from pipeline.inference.service.uploads import receive
from pipeline.inference.service.work import REQUESTS, Work
from pipeline.inference.timeline.formats import as_json, printable
from pipeline.inference.timeline.opinions import Heard

# Of windows: more of them than this a second say no more.
LEAST_HOP_S = 0.1
LONGEST_S = 3_600.0
Responses = dict[int | str, dict[str, Any]]


def make(work: Work, token: str = "") -> FastAPI:
    """The application around ``work``; with a token, which every request then must bring."""
    metrics, is_dimensions = Metrics(work), work.model.judge.target == "dimensions"
    # No pages of documentation: theirs load scripts from elsewhere.
    app = FastAPI(title="ser serve", docs_url=None, redoc_url=None)
    app.add_middleware(Door, metrics=metrics, token=token)
    refused = documents.refusals(work.limits, bool(token))
    # For the document; `Door` compares it.
    asked = [Depends(HTTPBearer(auto_error=False))] if token else []
    example = documents.answer(work.model.classes, is_dimensions)

    @app.exception_handler(RequestValidationError)
    async def told(_: Request, error: RequestValidationError) -> Response:
        raise _invalid(error) from None

    @app.get("/health", responses={code: refused[code] for code in (403, 503)})
    async def health() -> documents.Health:
        """That the model is loaded and requests are taken; the one path that asks for no token."""
        if work.stopping.is_set():
            raise stopping()
        return documents.Health(status="ok")

    counted: Responses = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
    counted |= {code: refused[code] for code in (401, 403) if code in refused}

    @app.get("/metrics", response_class=Response, responses=counted, dependencies=asked)
    async def numbers() -> Response:
        """What was asked and how long it took, for Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.post(
        "/predict",
        response_model=list[documents.Answer],
        responses={200: {"content": {"application/json": {"example": example}}}, **refused},
        openapi_extra=documents.BODY,
        dependencies=asked,
    )
    async def predict(request: Request, manner: Annotated[Asked, Depends()]) -> Response:
        """The emotion of each recording of the request, in order, as `ser predict --json` has it.

        One that cannot be read refuses the request, and is named.
        """
        found = await _judged(request, work, manner.of(work))
        metrics.audio.inc(sum(one.duration_s for one in found))
        lines = ",\n".join(as_json(one, work.model.classes) for one in found)
        return Response(f"[{lines}]\n", media_type="application/json")

    @app.websocket("/stream")
    async def stream(socket: WebSocket) -> None:
        await streams.serve(socket, work, metrics)

    return app


class Asked:
    """Which parts are judged: the options of `ser predict`, within bounds."""

    def __init__(
        self,
        segments: Annotated[
            Literal["", "fixed", "vad"],
            Query(description="Empty: clips as in training; fixed windows; vad: where speech is."),
        ] = "",
        segment_s: Annotated[
            float | None,
            Query(ge=0.5, le=LONGEST_S, description="Length of clips and windows."),
        ] = None,
        hop_s: Annotated[
            float | None,
            Query(ge=LEAST_HOP_S, le=LONGEST_S, description="How often a window starts."),
        ] = None,
        smooth_s: Annotated[
            float, Query(ge=0, le=LONGEST_S, description="Average over parts this near.")
        ] = 0.0,
    ) -> None:
        if hop_s and segments != FIXED:
            raise HTTPException(422, "hop_s: of windows, add segments=fixed")
        self._changed = {"max_clip_s": segment_s} if segment_s else {}
        self._rest = segments, hop_s or 0.0, smooth_s

    def of(self, work: Work) -> Manner:
        """The same for the model that judges."""
        return Manner(work.model.cutting.model_copy(update=self._changed), *self._rest)


async def _judged(request: Request, work: Work, manner: Manner) -> list[Heard]:
    work.require_room(REQUESTS)  # before a body is read in vain
    with work.purse.opened() as take, ExitStack() as held:
        uploads = await receive(request, work.limits, take, held)
        with work.admitted(REQUESTS) as gone:
            watch = asyncio.create_task(_left(request, gone))
            try:
                return await work.run(lambda: work.listen(uploads, manner, gone))
            except PipelineError as error:
                raise _refusal(error, work) from None
            except GoneError:
                if work.stopping.is_set():
                    raise stopping() from None
                raise
            finally:
                watch.cancel()


async def _left(request: Request, gone: threading.Event) -> None:
    """Wait for the client to go away, and have nobody work for it any longer."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    gone.set()


def _refusal(error: PipelineError, work: Work) -> HTTPException:
    told = printable(" ".join(str(error).split()))
    if isinstance(error, RejectedError) and error.code == "too_long":
        return too_long(told.partition(": too_long,")[0], work.limits)
    return HTTPException(422, told)


def _invalid(error: RequestValidationError) -> HTTPException:
    """Of a query, the first thing that is wrong with it."""
    found = error.errors()[0]
    option, rule, given = found["loc"][-1], found["msg"], str(found.get("input"))[:100]
    return HTTPException(422, f"{option}: expected another value ({rule}), got {given!r}")
