"""The Platform's door. Its webhooks are not signed, so the address itself holds a secret; every body is stored."""

import hmac
import time
from typing import Annotated, Final

from fastapi import APIRouter, Path
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response
from uuid_utils.compat import uuid7

from platform_relay.api.client_ip import client_address, is_within
from platform_relay.api.dependencies import Services
from platform_relay.api.documentation import answer, refusals
from platform_relay.api.event_examples import ID
from platform_relay.api.request_body import read_body
from platform_relay.core.errors import BodyTooLarge, BodyTooSlow, DatabaseAway, EncodingRefused, InternalError, NotFound
from platform_relay.core.telemetry import log_message
from platform_relay.platform.fields import Fields
from platform_relay.platform.webhooks import incoming
from platform_relay.settings import Settings

DoorSecret = Annotated[str, Path(description="The secret of PLATFORM__WEBHOOK_SECRET, or the previous one.")]
CALLER: Final = "platform"
EXAMPLE: Final = {"id": "0a4f6f0e-7f0d-4e59-b0b3-3d1b8d3f4c77", "couponCode": "0123456789ab"}


def routes(services: Services) -> APIRouter:
    router = APIRouter(prefix="/v1/webhooks", tags=["Webhooks"])
    platform = services.settings.platform
    secrets = [
        _bytes(secret) for secret in (platform.webhook_secret, platform.webhook_secret_previous) if secret is not None
    ]
    limit, fields = services.settings.body_limit, Fields(platform.fields)

    @router.post(
        "/platform/{webhook_secret}",
        operation_id="take_platform_webhook",
        summary="Take a webhook of the Platform",
        response_class=Response,
        responses={
            200: answer("Stored.", {"id": ID, "status": "accepted"}),
            **refusals(NotFound, BodyTooSlow, BodyTooLarge, EncodingRefused, InternalError, DatabaseAway),
        },
        openapi_extra={
            "parameters": [
                {
                    "name": "X-Webhook-Topic",
                    "in": "header",
                    "schema": {"type": "string"},
                    "description": "What the webhook is about, such as `points/redeemed`.",
                }
            ],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"type": "object"}, "example": EXAMPLE}},
            },
        },
    )
    async def take_webhook(request: Request, webhook_secret: DoorSecret) -> Response:
        """Subscribe this address, with the secret of PLATFORM__WEBHOOK_SECRET in it, to every topic at the Platform (see
        this document's webhooks). Every body is stored and answered 200, unknown topics too; the same webhook again
        is answered with the first id. A wrong secret is answered like an address that does not exist."""
        started = time.perf_counter()
        presented = webhook_secret.encode("utf-8", "surrogateescape")
        if sum(hmac.compare_digest(presented, secret) for secret in secrets) == 0:  # every one is compared, always
            raise NotFound
        raw = await read_body(request, limit)
        message_id = uuid7()
        topic = request.headers.get("x-webhook-topic", "")
        message = incoming(
            topic,
            request.headers.get("x-webhook-id"),
            raw,
            str(message_id),
            fields,
            origin=_origin(request, services.settings),
            news=services.settings.store.news,
        )
        receipt = await services.inbox.accept(message, message_id)
        services.metrics.message("webhook", receipt.status)
        log_message(
            receipt.id,
            source=message.source,
            kind=message.kind,
            status=receipt.status,
            size=len(raw),
            jobs=len(message.jobs),
            milliseconds=(time.perf_counter() - started) * 1000,
            caller=CALLER,
        )
        status = "accepted" if receipt.status == "accepted" else "duplicate"
        return Response(f'{{"id":"{receipt.id}","status":"{status}"}}', media_type="application/json")

    return router


def _origin(request: Request, settings: Settings) -> str | None:
    """`here` or `elsewhere`, by PLATFORM__ALLOWED_NETWORKS; None where it names no networks."""
    allowed = settings.platform.allowed_networks
    if not allowed:
        return None
    peer = request.client.host if request.client else None
    forwarded = request.headers.getlist("x-forwarded-for")
    return "here" if is_within(client_address(peer, forwarded, settings.trusted_proxies), allowed) else "elsewhere"


def _bytes(secret: SecretStr) -> bytes:
    return secret.get_secret_value().encode()
