"""What a service takes on, and how it says no."""

from dataclasses import dataclass

from starlette.exceptions import HTTPException


@dataclass(frozen=True)
class Limits:
    """Bounds of what one process takes on; each has an option of `ser serve`.

    Attributes:
        request_bytes: Of one request's body.
        audio_s: Of all recordings of one request.
        at_work: Requests that are decoded and judged, or wait for that, at once.
        streams: Open at once.
        body_s: For a body to arrive, and for an answer to be taken.
        idle_s: Between two messages of a stream.
        stop_s: For what is at work when the process is told to stop.
    """

    request_bytes: int = 32 * 2**20
    audio_s: float = 600.0
    at_work: int = 32
    streams: int = 8
    body_s: float = 60.0
    idle_s: float = 30.0
    stop_s: float = 30.0

    @property
    def held_bytes(self) -> int:
        """Of all bodies together, those that still arrive included."""
        return self.at_work * self.request_bytes


def too_large(limits: Limits) -> HTTPException:
    """The refusal of a body."""
    return HTTPException(
        413, f"body: more than {limits.request_bytes} bytes in a request, send fewer or shorter"
    )


def too_long(name: str, limits: Limits) -> HTTPException:
    """The refusal of a recording."""
    return HTTPException(
        413, f"{name}: more than {limits.audio_s:g} s of audio in a request, send fewer or shorter"
    )


def too_slow(limits: Limits) -> HTTPException:
    """The refusal of a body that does not arrive."""
    return HTTPException(408, f"body: not whole after {limits.body_s:g} s, send it faster")


def busy(what: str) -> HTTPException:
    """The refusal of one too many; ``what`` says of which."""
    return HTTPException(429, f"service: {what}, wait and send it again", {"Retry-After": "1"})


def stopping() -> HTTPException:
    """The refusal of whatever comes after the process was told to stop."""
    return HTTPException(
        503, "service: stopping, wait until it is started again", {"Retry-After": "10"}
    )
