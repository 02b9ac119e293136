"""The endpoint for the store's own webhooks: their signature is verified, then they are translated and stored like events.

Large webhooks are verified and translated in another process (`core.compute`), and can therefore be larger than events.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response
from uuid_utils.compat import uuid7

from platform_relay.api.dependencies import Services
from platform_relay.api.documentation import problem_responses, success
from platform_relay.api.examples import ID
from platform_relay.api.request_body import declared_size, read_body
from platform_relay.api.webhook_receipts import accept_webhook
from platform_relay.core.errors import (
    BodyTooLarge,
    BodyTooSlow,
    DatabaseAway,
    EncodingRefused,
    InternalError,
    LargeBodiesBusy,
    NotFound,
    SignatureRefused,
)
from platform_relay.forwarding.fetch import webhook_message
from platform_relay.inbox.messages import Incoming
from platform_relay.stores.native import FetchesEntities, ParsesLargeWebhooks, ReceivesWebhooks, Unverified

AdapterName = Annotated[str, Path(description="The name of the store adapter, as in STORE__ADAPTER.")]
EXAMPLE: Final = {"id": 44, "status": "processing"}
LARGE_BODIES: Final = 8
"""Webhooks above BODY_LIMIT that are in memory at once. Their senders are only known when the body was read."""
LARGE_BODY_WAIT: Final = 5.0
"""Seconds that a large webhook waits for the others before it is refused."""


def routes(services: Services) -> APIRouter:
    router = APIRouter(prefix="/v1/store-webhooks", tags=["Webhooks"])
    configured, settings = services.settings.store.adapter, services.settings
    large_bodies = asyncio.Semaphore(LARGE_BODIES)

    @router.post(
        "/{adapter}",
        operation_id="receive_store_webhook",
        summary="Receive a webhook of the store",
        response_class=Response,
        responses={
            200: success("The webhook is stored.", {"id": ID, "status": "accepted"}),
            **problem_responses(
                NotFound, SignatureRefused, BodyTooSlow, BodyTooLarge, EncodingRefused, InternalError, DatabaseAway
            ),
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"type": "object"}, "example": EXAMPLE}},
            }
        },
    )
    async def receive_webhook(request: Request, adapter: AdapterName) -> Response:
        """`relay webhooks install` installs these webhooks in the store. The relay verifies the store's signature of the
        raw body. A webhook that does not report a customer, an order or a product (a ping, a deletion) is stored, and
        creates no job. The relay answers after the commit. A repeated webhook is answered with the first id. A body has at
        most EVENT_LIMIT bytes (16 MiB by default). The relay receives eight webhooks above BODY_LIMIT at once; others
        wait, and are answered with 503 after five seconds."""
        started = time.perf_counter()
        store: object = services.store
        if adapter != configured or not isinstance(store, ReceivesWebhooks):
            raise NotFound(
                f"The store adapter {adapter!r} receives no webhooks here; STORE__ADAPTER is {configured or 'not set'}."
            )
        limit = settings.event_limit if isinstance(store, ParsesLargeWebhooks) else settings.body_limit
        async with _place(large_bodies) if declared_size(request, limit) > settings.body_limit else nullcontext():
            raw = await read_body(request, limit)
            message_id = uuid7()
            message = await _message(services, store, dict(request.headers), raw, message_id)
            return await accept_webhook(
                services, message, message_id, started=started, size=len(raw), caller=adapter, kind=message.kind
            )

    return router


@asynccontextmanager
async def _place(places: asyncio.Semaphore) -> AsyncIterator[None]:
    """Holds one of the places. Raises LargeBodiesBusy."""
    try:
        async with asyncio.timeout(LARGE_BODY_WAIT):
            await places.acquire()
    except TimeoutError:
        raise LargeBodiesBusy(
            f"The relay is receiving {LARGE_BODIES} other large webhooks. This one was not read or stored."
        ) from None
    try:
        yield
    finally:
        places.release()


async def _message(
    services: Services, store: ReceivesWebhooks, headers: dict[str, str], raw: bytes, message_id: UUID
) -> Incoming:
    """The message of a webhook. Raises SignatureRefused."""
    source, fetches = services.settings.store.adapter or "", isinstance(store, FetchesEntities)
    message: Incoming | Unverified
    if isinstance(store, ParsesLargeWebhooks):
        parser = await store.webhook_parser(headers, raw)
        if isinstance(parser, Unverified):
            raise SignatureRefused(parser.reason.text)
        read = partial(webhook_message, parser, raw, source=source, message_id=str(message_id), fetches=fetches)
        message = await services.compute.run_if_large(len(raw), read)
    else:
        parsed = await store.parse_event(headers, raw)
        message = webhook_message(lambda: parsed, raw, source=source, message_id=str(message_id), fetches=fetches)
    if isinstance(message, Unverified):
        raise SignatureRefused(message.reason.text)
    return message
