"""The endpoint for the store's own webhooks: their signature is verified, then they are translated and stored like events."""

import time
from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response
from uuid_utils.compat import uuid7

from platform_relay.api.dependencies import Services
from platform_relay.api.documentation import problem_responses, success
from platform_relay.api.examples import ID
from platform_relay.api.request_body import read_body
from platform_relay.api.webhook_receipts import accept_webhook
from platform_relay.core.errors import (
    BodyTooLarge,
    BodyTooSlow,
    DatabaseAway,
    EncodingRefused,
    InternalError,
    NotFound,
    SignatureRefused,
)
from platform_relay.forwarding.fetch import store_message
from platform_relay.stores.native import ReceivesWebhooks, Unverified

AdapterName = Annotated[str, Path(description="The name of the store adapter, as in STORE__ADAPTER.")]
EXAMPLE: Final = {"id": 44, "status": "processing"}


def routes(services: Services) -> APIRouter:
    router = APIRouter(prefix="/v1/store-webhooks", tags=["Webhooks"])
    configured, limit = services.settings.store.adapter, services.settings.body_limit

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
        creates no job. The relay answers after the commit. A repeated webhook is answered with the first id."""
        started = time.perf_counter()
        store: object = services.store
        if adapter != configured or not isinstance(store, ReceivesWebhooks):
            raise NotFound(
                f"The store adapter {adapter!r} receives no webhooks here; STORE__ADAPTER is {configured or 'not set'}."
            )
        raw = await read_body(request, limit)
        parsed = await store.parse_event(dict(request.headers), raw)
        if isinstance(parsed, Unverified):
            raise SignatureRefused(parsed.reason.text)
        message_id = uuid7()
        message = store_message(parsed, raw, source=adapter, message_id=str(message_id))
        return await accept_webhook(
            services, message, message_id, started=started, size=len(raw), caller=adapter, kind=message.kind
        )

    return router
