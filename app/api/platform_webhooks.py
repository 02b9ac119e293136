"""The endpoint for the Platform's webhooks. They are not signed, so the URL contains a secret. Every body is stored."""

import hmac
import time
from typing import Annotated, Final

from fastapi import APIRouter, Path
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response
from uuid_utils.compat import uuid7

from platform_relay.api.client_ip import is_within, request_address
from platform_relay.api.dependencies import Services
from platform_relay.api.documentation import problem_responses, success
from platform_relay.api.examples import ID
from platform_relay.api.request_body import read_json_body
from platform_relay.api.webhook_receipts import accept_webhook
from platform_relay.core.errors import (
    BodyTooLarge,
    BodyTooSlow,
    DatabaseAway,
    EncodingRefused,
    InternalError,
    NotFound,
    WebhookSecretWrong,
)
from platform_relay.platform.fields import Fields
from platform_relay.platform.webhooks import ALLOWED_NETWORK, OTHER_NETWORK, webhook_message
from platform_relay.settings import Settings

WebhookSecret = Annotated[str, Path(description="The webhook secret, PLATFORM__WEBHOOK_SECRET, or the previous one.")]
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
        operation_id="receive_platform_webhook",
        summary="Receive a webhook of the Platform",
        response_class=Response,
        responses={
            200: success("The webhook is stored.", {"id": ID, "status": "accepted"}),
            **problem_responses(NotFound, BodyTooSlow, BodyTooLarge, EncodingRefused, InternalError, DatabaseAway),
        },
        openapi_extra={
            "parameters": [
                {
                    "name": "X-Webhook-Topic",
                    "in": "header",
                    "schema": {"type": "string"},
                    "description": "The topic of the webhook, such as `points/redeemed`.",
                }
            ],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"type": "object"}, "example": EXAMPLE}},
            },
        },
    )
    async def receive_webhook(request: Request, webhook_secret: WebhookSecret) -> Response:
        """At the Platform, enter this URL, with the webhook secret in it, for every topic (see the webhooks in this
        document). Every body is stored and answered with 200, also for unknown topics. A webhook that should carry a coupon,
        and has no code that can be read, becomes a dead job. A repeated webhook is answered with the first id. A wrong
        secret is answered with 404."""
        started = time.perf_counter()
        presented = webhook_secret.encode("utf-8", "surrogateescape")
        if (
            sum(hmac.compare_digest(presented, secret) for secret in secrets) == 0
        ):  # compares all secrets, in constant time
            raise WebhookSecretWrong
        raw = await read_json_body(request, limit)
        message_id = uuid7()
        topic = request.headers.get("x-webhook-topic", "")
        message = webhook_message(
            topic,
            raw,
            str(message_id),
            fields,
            network=_network(request, services.settings),
            loyalty_sync=services.settings.store.loyalty_sync,
        )
        return await accept_webhook(
            services, message, message_id, started=started, size=len(raw), caller=CALLER, kind="webhook"
        )

    return router


def _network(request: Request, settings: Settings) -> str | None:
    """Whether the client is in PLATFORM__ALLOWED_NETWORKS; None if that setting is empty."""
    allowed = settings.platform.allowed_networks
    if not allowed:
        return None
    return ALLOWED_NETWORK if is_within(request_address(request, settings.trusted_proxies), allowed) else OTHER_NETWORK


def _bytes(secret: SecretStr) -> bytes:
    return secret.get_secret_value().encode()
