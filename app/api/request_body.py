"""Reading a request's body: whole, bounded in bytes and in time, as it was sent."""

import asyncio
from typing import Final, TypeVar

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request

from platform_relay.api.problems import of_body
from platform_relay.core.errors import BodyTooLarge, BodyTooSlow, EncodingRefused
from platform_relay.inbox.messages import refuse_unstorable

SECONDS: Final = 30.0
"""How long a whole body may take to arrive."""
Model = TypeVar("Model", bound=BaseModel)


async def read_body(request: Request, limit: int) -> bytes:
    """The body, at most `limit` bytes.

    Raises BodyTooLarge, by Content-Length before anything is read, else as soon as more than `limit` bytes came;
    EncodingRefused for a compressed body; BodyTooSlow; starlette's ClientDisconnect when the caller went away.
    """
    headers = request.headers
    encoding = headers.get("content-encoding")
    if encoding is not None and encoding.strip().lower() not in ("", "identity"):
        raise EncodingRefused(f"The body is encoded as {encoding[:40]!r}; only plain bodies are taken.")
    length = headers.get("content-length")
    if length is not None and length.isdecimal() and int(length) > limit:
        raise too_large(limit)
    body = bytearray()
    more = True
    try:
        async with asyncio.timeout(SECONDS):
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                body += message.get("body", b"")
                if len(body) > limit:
                    raise too_large(limit)
                more = message.get("more_body", False)
    except TimeoutError as error:
        raise BodyTooSlow(f"The body was not complete after {SECONDS:g} s.") from error
    return bytes(body)


async def read_model(request: Request, model: type[Model], limit: int) -> Model:
    """The body as a `model`. Raises what `read_body` does, NotJson and FieldsInvalid."""
    raw = await read_body(request, limit)
    try:
        told = model.model_validate_json(raw)  # first: it refuses what is too deep to be looked through
        refuse_unstorable(raw)
    except ValueError as error:
        raise of_body(error, raw) from None
    return told


def too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than the {limit:,} bytes that are taken here.")
