"""Reads request bodies, with limits on their size and time."""

import asyncio
from typing import Final, Generic, TypeVar

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request

from platform_relay.api.body_problems import body_problem, too_large, without_byte_order_mark
from platform_relay.api.dependencies import ServicesDep
from platform_relay.api.problems import BODY, BODY_SIZE
from platform_relay.core import exact_json
from platform_relay.core.errors import BodyTooSlow, EncodingRefused
from platform_relay.core.plain_numbers import integer, is_count
from platform_relay.inbox.events import refuse_unstorable

SECONDS: Final = 30.0
"""The time limit for receiving a body."""
BODY_COMPLETE: Final = "relay.body_complete"
"""In the scope of a request whose body has been received; `api/http_protocol.py` sets it."""
Model = TypeVar("Model", bound=BaseModel)


async def read_body(request: Request, limit: int) -> bytes:
    """The body, of at most `limit` bytes.

    Raises BodyTooLarge (from Content-Length before reading, else as soon as more than `limit` bytes have arrived),
    EncodingRefused for a body with a Content-Encoding, or a Transfer-Encoding other than chunked, BodyTooSlow, and
    ClientDisconnect when the client disconnects.
    """
    refuse_encoding(request)
    size = declared_size(request, 0)
    request.scope[BODY_SIZE] = size
    if size > limit:
        raise too_large(limit)
    if request.scope.get(BODY_COMPLETE):  # a timer costs more than the reading of what is there
        return await _read_parts(request, limit)
    try:
        async with asyncio.timeout(SECONDS):
            return await _read_parts(request, limit)
    except TimeoutError as error:
        raise BodyTooSlow(f"The body was not complete after {SECONDS:g} s.") from error


async def _read_parts(request: Request, limit: int) -> bytes:
    body: bytes | bytearray = b""
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        if body:
            body = body if isinstance(body, bytearray) else bytearray(body)
            body += part
        else:
            body = part
        request.scope[BODY_SIZE] = len(body)
        if len(body) > limit:
            raise too_large(limit)
        more = message.get("more_body", False)
    request.scope[BODY] = raw = bytes(body)
    return raw


async def read_json_body(request: Request, limit: int) -> bytes:
    """As `read_body`, without a byte order mark: it is part of the encoding, so a body is the same with and without it."""
    return without_byte_order_mark(await read_body(request, limit))


def refuse_encoding(request: Request) -> None:
    """Raises EncodingRefused for a body with a Content-Encoding, or a Transfer-Encoding other than chunked."""
    headers = request.headers
    encoding = headers.get("content-encoding")
    if encoding is not None and encoding.strip().lower() not in ("", "identity"):
        raise EncodingRefused(
            f"The body has the Content-Encoding {encoding[:40]!r}; the relay accepts only unencoded bodies."
        )
    if (coding := ",".join(headers.getlist("transfer-encoding")).strip().lower()) not in ("", "chunked"):
        raise EncodingRefused(
            f"The body has the Transfer-Encoding {coding[:40]!r}; the relay accepts only unencoded bodies."
        )


def declared_size(request: Request, otherwise: int) -> int:
    """The Content-Length in bytes; `otherwise` if there is none."""
    length = request.headers.get("content-length", "")
    return integer(length) if is_count(length) else otherwise


class JsonBody(Generic[Model]):
    """A dependency: the request's body as a `model`. `example` is for the documentation.

    FastAPI's own body parameters read a body of any size, and before the API key is checked. An endpoint lists this dependency
    after the caller's. Raises what `read_body` raises, NotJson and FieldsInvalid.
    """

    def __init__(self, model: type[Model], example: object) -> None:
        self.model, self.example = model, example

    async def __call__(self, request: Request, services: ServicesDep) -> Model:
        raw = await read_json_body(request, services.settings.body_limit)
        try:
            return exact_json.validated(self.model, raw, refuse_unstorable)
        except ValueError as error:
            raise body_problem(error, raw) from None
