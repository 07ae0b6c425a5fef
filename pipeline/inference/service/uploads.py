"""The recordings of a request: its body, read in bounded memory and time, never into a folder.

Each lies in a memory file of Linux, which has a path for a decoder to open (``/proc/PID/fd/N``) and
is gone with the process, however that ends.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from pipeline.inference.service.limits import Limits, busy, too_large, too_slow

MOST_FILES = 64
UNNAMED = "-"  # as standard input is called


@dataclass(frozen=True)
class Upload:
    """A recording by its name, which is the client's and never opened, and where its bytes are."""

    name: str
    descriptor: int

    @property
    def place(self) -> Path:
        """For this process and what it starts."""
        return Path(f"/proc/{os.getpid()}/fd/{self.descriptor}")


class Purse:
    """The bytes of all bodies that are held."""

    def __init__(self, most: int) -> None:
        self.held = 0
        self._most = most

    @contextmanager
    def opened(self) -> Iterator[Callable[[int], None]]:
        """What takes bytes of it, which are given back at the end of the block."""
        own = 0

        def take(count: int) -> None:
            nonlocal own
            if self.held + count > self._most:
                raise busy("as many bytes as it holds arrive already")
            own += count
            self.held += count

        try:
            yield take
        finally:
            self.held -= own


class _Files(MultiPartParser):
    """Files of a form, in memory; the library's own lie in a folder from a MiB on."""

    spool_max_size = 2**62
    is_whole = False

    def on_end(self) -> None:
        self.is_whole = True


async def receive(
    request: Request, limits: Limits, take: Callable[[int], None], held: ExitStack
) -> list[Upload]:
    """The recordings of a request: the files of a form, or the body itself.

    Args:
        request: Whose body was not read before.
        limits: Of the body's size, and of the time that it takes to arrive.
        take: Called with each number of bytes that is held from now on.
        held: With it the recordings end.

    Raises:
        HTTPException: 413, the body is too large; 408, it does not arrive; 422, it is no form of
            files; whatever ``take`` raises.
        ClientDisconnect: The client is gone.
    """
    pieces = _pieces(request, limits, take)
    try:
        async with asyncio.timeout(limits.body_s):
            if _kind(request) == "multipart/form-data":
                return await _form(request, pieces, held)
            upload = _upload(UNNAMED, held)
            async for piece in pieces:
                _write(upload, piece)
            return [upload]
    except TimeoutError:
        raise too_slow(limits) from None


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _pieces(
    request: Request, limits: Limits, take: Callable[[int], None]
) -> AsyncGenerator[bytes, None]:
    """The body as it comes, as long as it stays within the limits."""
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > limits.request_bytes:
        raise too_large(limits)
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limits.request_bytes:
            raise too_large(limits)
        take(len(piece))
        yield piece


async def _form(
    request: Request, pieces: AsyncGenerator[bytes, None], held: ExitStack
) -> list[Upload]:
    form = _Files(request.headers, pieces, max_files=MOST_FILES, max_fields=0)
    try:
        parts = (await form.parse()).multi_items()
    except MultiPartException as error:
        told = "a field that is no file" if "fields" in error.message else error.message.rstrip(".")
        raise _malformed(told) from None
    if not (form.is_whole and parts):
        raise _malformed("one that ends within a part" if parts or not form.is_whole else "none")
    uploads = []
    for _, part in parts:
        assert isinstance(part, UploadFile)  # noqa: S101 - there are no fields
        uploads.append(_upload(part.filename or UNNAMED, held))
        with part.file as file:
            while piece := file.read(2**20):
                _write(uploads[-1], piece)
    return uploads


def _malformed(told: str) -> HTTPException:
    return HTTPException(
        422, f"body: expected a form of 1 to {MOST_FILES} files (multipart/form-data), got {told}"
    )


def _upload(name: str, held: ExitStack) -> Upload:
    descriptor = os.memfd_create("upload", os.MFD_CLOEXEC)
    held.callback(os.close, descriptor)
    return Upload(name, descriptor)


def _write(upload: Upload, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(upload.descriptor, rest) :]
