"""The store's own webhooks: verified by the store's signature, translated, handed to the inbox like any event."""

import time
from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response
from uuid_utils.compat import uuid7

from platform_relay.api.dependencies import Services
from platform_relay.api.documentation import answer, refusals
from platform_relay.api.event_examples import ID
from platform_relay.api.request_body import read_body
from platform_relay.core.errors import (
    BodyTooLarge,
    BodyTooSlow,
    DatabaseAway,
    EncodingRefused,
    InternalError,
    NotFound,
    SignatureRefused,
)
from platform_relay.core.telemetry import log_message
from platform_relay.forwarding.fetch import message_of
from platform_relay.stores.native import ReceivesWebhooks, Refused

AdapterName = Annotated[str, Path(description="The store's adapter, as in STORE__ADAPTER.")]
EXAMPLE: Final = {"id": 44, "status": "processing"}


def routes(services: Services) -> APIRouter:
    router = APIRouter(prefix="/v1/store-webhooks", tags=["Webhooks"])
    configured, limit = services.settings.store.adapter, services.settings.body_limit

    @router.post(
        "/{adapter}",
        operation_id="take_store_webhook",
        summary="Take one of the store's own webhooks",
        response_class=Response,
        responses={
            200: answer("Stored.", {"id": ID, "status": "accepted"}),
            **refusals(
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
    async def take_webhook(request: Request, adapter: AdapterName) -> Response:
        """`relay connect` sets these up. The store's own signature is verified over the raw body; what is not a
        customer's, an order's or a product's news (a ping, a deletion) is stored and owes nothing. Answered after the
        commit; the same news again is answered with the first id."""
        started = time.perf_counter()
        store: object = services.store
        if adapter != configured or not isinstance(store, ReceivesWebhooks):
            raise NotFound(
                f"No store of the name {adapter!r} sends its own webhooks here; STORE__ADAPTER is {configured or 'not set'}."
            )
        raw = await read_body(request, limit)
        parsed = await store.parse_event(dict(request.headers), raw)
        if isinstance(parsed, Refused):
            raise SignatureRefused(parsed.reason.text)
        message_id = uuid7()
        message = message_of(parsed, raw, source=adapter, message_id=str(message_id))
        receipt = await services.inbox.accept(message, message_id)
        services.metrics.message(message.kind, receipt.status)
        log_message(
            receipt.id,
            source=message.source,
            kind=message.kind,
            status=receipt.status,
            size=len(raw),
            jobs=len(message.jobs),
            milliseconds=(time.perf_counter() - started) * 1000,
            caller=adapter,
        )
        status = "accepted" if receipt.status == "accepted" else "duplicate"
        return Response(f'{{"id":"{receipt.id}","status":"{status}"}}', media_type="application/json")

    return router
