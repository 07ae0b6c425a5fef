"""The OpenAPI document: what goes in, what comes out, and one example of each."""

from typing import Any

from pydantic import BaseModel, Field

from pipeline.inference.service.limits import Limits

BODY = {
    "requestBody": {
        "required": True,
        "description": "A form of files, under any field names; or one recording as it is, under "
        "any other content type. Formats are those of `ser predict`.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                        }
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


class Part(BaseModel):
    """A stretch of a recording; of a classifier of dimensions it has values and no emotion."""

    start_s: float
    end_s: float
    emotion: str | None = None
    probabilities: dict[str, float] | None = None
    values: dict[str, float] | None = None


class Answer(Part):
    """A recording as a whole, and its parts."""

    file: str = Field(description="The file's name in the form; - where it has none.")
    clips: list[Part]


class Refusal(BaseModel):
    """What is wrong, in one line."""

    detail: str


class Health(BaseModel):
    """That it answers."""

    status: str


def answer(classes: list[str], is_dimensions: bool) -> list[dict[str, Any]]:
    """An example of what `POST /predict` says."""
    if is_dimensions:
        told: dict[str, Any] = {"values": dict.fromkeys(classes, 0.5)}
    else:
        rest = 0.2 / max(1, len(classes) - 1)
        shares = {name: 0.8 if at == 0 else rest for at, name in enumerate(classes)}
        told = {"emotion": classes[0], "probabilities": shares}
    part = {"start_s": 0.0, "end_s": 1.5, **told}
    return [{"file": "speech.wav", **part, "clips": [part]}]


def refusals(limits: Limits, has_token: bool) -> dict[int | str, dict[str, Any]]:
    """Each status of a refused request, with an example of its line."""
    lines = {
        403: "origin: expected a page of this service, got another's, use a program",
        408: f"body: not whole after {limits.body_s:g} s, send it faster",
        413: f"body: more than {limits.request_bytes} bytes in a request, send fewer or shorter",
        422: "speech.wav: not WAV, AIFF, FLAC, Ogg or MP3, mend it or convert it to WAV or FLAC",
        429: f"service: {limits.at_work} requests are at work already, wait and send it again",
        503: "service: stopping, wait until it is started again",
    }
    if has_token:
        lines[401] = "authorization: expected Bearer and the service's token, send it"
    return {
        status: {
            "model": Refusal,
            "description": line.partition(":")[0],
            "content": {"application/json": {"example": {"detail": line}}},
        }
        for status, line in sorted(lines.items())
    }
