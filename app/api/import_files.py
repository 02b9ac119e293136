"""Receives an uploaded file of an import, with limits on its size and on the time between two parts."""

import asyncio
import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Final

from starlette.requests import Request

from platform_relay.api.body_problems import too_large
from platform_relay.api.request_body import refuse_encoding
from platform_relay.core.errors import BodyTooSlow, EncodingRefused, FieldError, QueryInvalid, WrongState
from platform_relay.imports.files import FileFormat
from platform_relay.imports.uploads import MAX_BYTES

IDLE_SECONDS: Final = 30.0
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
FORMATS: Final[Mapping[str, FileFormat]] = {
    "text/csv": "csv",
    "text/tab-separated-values": "csv",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/x-ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/json": "json",
}
_FORM: Final = "multipart/form-data"
_CSV: Final = "id,email,firstName,updatedAt\n42,ada@example.com,Ada,2026-05-11T16:20:00Z\n"
CONTENT: Final = {
    media: {
        "schema": {"type": "string"} if form != "json" else {"type": "array", "items": {"type": "object"}},
        "example": {"csv": _CSV, "ndjson": '{"id": "42", "email": "ada@example.com"}\n'}.get(form, [{"id": "42"}]),
    }
    if form != "xlsx"
    else {"schema": {"type": "string", "format": "binary"}, "example": "PK…"}
    for media, form in FORMATS.items()
}
"""The request body, for the documentation."""


def file_format_of(request: Request) -> FileFormat:
    """The format by the Content-Type. Raises EncodingRefused and QueryInvalid."""
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise EncodingRefused("The file is compressed; upload it uncompressed.")
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == _FORM:
        message = (
            "is that of a form; send the file itself as the body (curl --data-binary @FILE, not -F), with its own type"
        )
        raise QueryInvalid(f"The Content-Type {message}.", [FieldError("Content-Type", message)])
    if media not in FORMATS:
        message = f"must be one of {', '.join(FORMATS)}"
        raise QueryInvalid(f"The Content-Type {message}.", [FieldError("Content-Type", message)])
    return FORMATS[media]


class BodyParts:
    """An iterator over the parts of a body of at most `limit` bytes. Raises EncodingRefused, BodyTooLarge, BodyTooSlow, and
    ClientDisconnect."""

    def __init__(self, request: Request, limit: int) -> None:
        refuse_encoding(request)
        self._stream = request.stream()
        self._limit = limit
        self._size = 0

    def __aiter__(self) -> "BodyParts":
        return self

    async def __anext__(self) -> bytes:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                part = await anext(self._stream)
        except TimeoutError:
            raise BodyTooSlow(f"No data arrived for {IDLE_SECONDS:g} s.") from None
        self._size += len(part)
        if self._size > self._limit:
            raise too_large(self._limit)
        return part


@contextmanager
def temporary_space() -> Iterator[None]:
    """Around what writes temporary files. Raises WrongState if there is no space for them."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise WrongState(
            "The relay has no space left in its folder for temporary files (TMPDIR). Make room there, or wait until other"
            " files are processed, and send the file again."
        ) from None


async def receive(request: Request, file: IO[bytes]) -> None:
    """Write the body into the file. Raises as `BodyParts`, and WrongState if there is no space."""
    with temporary_space():
        async for part in BodyParts(request, MAX_BYTES):
            file.write(part)
        file.flush()
