"""Streams of microphones: each visitor's pieces in their order, and what is heard of them so far.

Gradio's own streaming sends pieces side by side and keeps the newest alone where they come faster
than they are judged; here the page (`scripts.LIVE`) sends one after the other, and loses none.
"""

import base64
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pipeline.ground.errors import PipelineError
from pipeline.inference import listening
from pipeline.inference.api import Model
from pipeline.inference.listening import Followed
from pipeline.inference.page import answer
from pipeline.inference.page.answer import Style
from pipeline.inference.timeline.opinions import Opinion

MOST = 8  # streams at a time
IDLE_S = 30.0  # without a piece, a stream is forgotten
PIECE_BYTES = 2**21
EVERY_S = 1.0


class Piece(BaseModel):
    """What a browser sends: which stream, its rate, and 16-bit PCM in base64; empty at the end."""

    model_config = ConfigDict(extra="forbid", strict=True)

    stream: str = Field(pattern=r"^[0-9a-f]{32}$")
    rate_hz: int = Field(ge=8_000, le=192_000)
    pcm: str = Field(max_length=PIECE_BYTES)


@dataclass
class _Stream:
    followed: Followed
    opinions: list[Opinion] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    used_s: float = 0.0


class Streams:
    """All streams of a page, in memory, from any thread."""

    def __init__(
        self, model: Model, style: Style, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._model, self._style, self._clock_s = model, style, clock_s
        self._held: dict[tuple[str, int], _Stream] = {}
        self._lock = threading.Lock()

    def hear(self, told: Any) -> str:
        """What is shown after one more `Piece`: an answer, a problem, or empty for no news."""
        try:
            piece = Piece.model_validate(told)
            pcm = base64.b64decode(piece.pcm, validate=True)
            stream = self._stream(piece)
        except ValueError:  # of pydantic, and of what is no base64
            return answer.problem("microphone: expected pieces of a stream, load the page again")
        except PipelineError as error:
            return answer.problem(str(error))
        with stream.lock:
            new = list(stream.followed.hear(pcm) if pcm else stream.followed.end())
            stream.opinions = answer.recent([*stream.opinions, *new])
            return answer.stream(stream.opinions, self._style) if new else ""

    def _stream(self, piece: Piece) -> _Stream:
        now_s, key = self._clock_s(), (piece.stream, piece.rate_hz)
        with self._lock:
            self._held = {n: s for n, s in self._held.items() if now_s - s.used_s < IDLE_S}
            found = self._held.get(key) or self._begun(piece)
            found.used_s = now_s
            self._held[key] = found
            if not piece.pcm:
                del self._held[key]
            return found

    def _begun(self, piece: Piece) -> _Stream:
        if len(self._held) >= MOST:
            raise PipelineError(f"microphone: {MOST} others are heard already, wait for one to end")
        window_s = min(self._model.cutting.max_clip_s, listening.STREAM_S)
        return _Stream(Followed(self._model.judge, piece.rate_hz, window_s, EVERY_S))
