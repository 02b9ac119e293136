"""The store's door: an event is parsed once, handed to the inbox, and answered after the commit.

This is the hot path. It reads the raw body, makes no response model and no dependencies, and writes its answer by hand.
"""

import re
import time
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response
from uuid_utils.compat import uuid7

from platform_relay.api.authentication import Keys
from platform_relay.api.dependencies import Services
from platform_relay.api.documentation import answer, body_of, needs_key, refusals
from platform_relay.api.event_examples import EXAMPLES, MESSAGE, RECEIPT
from platform_relay.api.problems import of_body
from platform_relay.api.raw_route import RawRoute
from platform_relay.api.request_body import read_body
from platform_relay.core.errors import (
    BodyTooLarge,
    BodyTooSlow,
    DatabaseAway,
    EncodingRefused,
    FieldError,
    FieldsInvalid,
    HeaderInvalid,
    IdempotencyConflict,
    InternalError,
    KeyMissing,
    KeyRefused,
    NotFound,
    NotJson,
    QueryInvalid,
    ScopeMissing,
    TooManyWrongKeys,
)
from platform_relay.core.telemetry import log_message
from platform_relay.inbox.inbox import Receipt
from platform_relay.inbox.messages import EVENTS, Kind, incoming
from platform_relay.jobs.queries import find_message, reading
from platform_relay.jobs.views import MessageView

VISIBLE_ASCII: Final = re.compile(r"[\x21-\x7e]{1,255}")
KEY_REFUSALS: Final = (KeyMissing, KeyRefused, ScopeMissing, TooManyWrongKeys, InternalError, DatabaseAway)
EVENT_REFUSALS: Final = (
    *KEY_REFUSALS,
    BodyTooSlow,
    IdempotencyConflict,
    BodyTooLarge,
    EncodingRefused,
    NotJson,
    FieldsInvalid,
    HeaderInvalid,
    QueryInvalid,
)
EVENT_PARAMETERS: Final = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"},
            "description": "Your own name for this event. The same key and body again gets the first receipt (200);"
            " the same key with another body is refused (409).",
        },
        {
            "name": "backfill",
            "in": "query",
            "required": False,
            "schema": {"type": "boolean", "default": False},
            "description": "`true`: part of an import; sent to the Platform after everything live.",
        },
    ]
}


def routes(services: Services, keys: Keys) -> APIRouter:
    router = APIRouter(prefix="/v1/events", tags=["Events"])
    inbox, metrics, limit = services.inbox, services.metrics, services.settings.body_limit

    async def accept(request: Request, kind: Kind) -> Response:
        started = time.perf_counter()
        caller = await keys.require(request, "events")
        key = idempotency_key(request.headers.get("idempotency-key"))
        raw = await read_body(request, limit)
        try:
            event = EVENTS[kind].parse(raw)
        except ValueError as error:
            metrics.message(kind, "refused")
            raise of_body(error, raw) from None
        message_id = uuid7()
        message = incoming(event, raw, message_id=str(message_id), idempotency_key=key, backfill=is_backfill(request))
        receipt = await inbox.accept(message, message_id)
        metrics.message(kind, receipt.status)
        log_message(
            receipt.id,
            source=message.source,
            kind=kind,
            status=receipt.status,
            size=len(raw),
            jobs=len(message.jobs),
            milliseconds=(time.perf_counter() - started) * 1000,
            caller=caller.name,
        )
        if receipt.status == "conflict":
            raise conflict(receipt)
        status = 202 if receipt.status == "accepted" else 200
        return Response(receipt_json(receipt), status, media_type="application/json")

    async def customers(request: Request) -> Response:
        return await accept(request, Kind.CUSTOMER)

    async def orders(request: Request) -> Response:
        return await accept(request, Kind.ORDER)

    async def products(request: Request) -> Response:
        return await accept(request, Kind.PRODUCT)

    for kind, endpoint, summary, description in (
        (Kind.CUSTOMER, customers, "Report a customer", CUSTOMERS),
        (Kind.ORDER, orders, "Report an order", ORDERS),
        (Kind.PRODUCT, products, "Report a product", PRODUCTS),
    ):
        router.add_api_route(
            f"/{kind}",
            endpoint,
            methods=["POST"],
            operation_id=f"report_{kind}",
            summary=summary,
            description=description + STORED,
            status_code=202,
            response_class=Response,
            route_class_override=RawRoute,
            responses={
                202: answer("Committed; it will be delivered.", RECEIPT),
                200: answer("It was accepted before: the first receipt.", {**RECEIPT, "status": "duplicate"}),
                **refusals(*EVENT_REFUSALS),
            },
            openapi_extra=needs_key("events") | EVENT_PARAMETERS | body_of(EVENTS[kind], EXAMPLES[kind]),
        )

    @router.get(
        "/{message_id}",
        operation_id="read_event",
        summary="What became of an event",
        response_model=MessageView,
        responses={
            200: answer("The message, its jobs, and every attempt.", MESSAGE),
            **refusals(*KEY_REFUSALS, NotFound, QueryInvalid),
        },
        openapi_extra=needs_key("read"),
    )
    async def read_event(
        request: Request, message_id: Annotated[UUID, Path(description="The receipt's id.")]
    ) -> MessageView:
        """Where the event is now, with its jobs and every attempt that was made. Webhooks of the
        Platform can be read here too, by the id in their receipt."""
        await keys.require(request, "read")
        async with reading(services.engine) as connection:
            message = await find_message(connection, message_id)
        if message is None:
            raise NotFound(f"No message has the id {message_id}; it may have been pruned after the retention time.")
        return message

    return router


CUSTOMERS: Final = "The newest version wins at the Platform: versions that wait are replaced by newer ones."
ORDERS: Final = (
    "Every version is sent, in the order of acceptance, after the first delivery of its customer when that is owed."
    " `financialStatus` decides about points."
)
PRODUCTS: Final = "The newest version wins at the Platform. `variants`, when given, must be the whole list."
STORED: Final = (
    "\n\nAnswered only after the event is committed to the database. Fields that are not described here are kept and"
    " forwarded as they are."
)


def idempotency_key(value: str | None) -> str | None:
    """The key as given. Raises HeaderInvalid unless it is 1 to 255 visible ASCII characters."""
    if value is not None and not VISIBLE_ASCII.fullmatch(value):
        message = "must be 1 to 255 visible ASCII characters, without spaces"
        raise HeaderInvalid(f"Idempotency-Key {message}.", [FieldError("Idempotency-Key", message)])
    return value


def is_backfill(request: Request) -> bool:
    """Whether the address says `?backfill=true`. Raises QueryInvalid when it says neither true nor false."""
    if not request.scope["query_string"]:
        return False
    value = request.query_params.get("backfill", "false")
    if value not in ("true", "false"):
        raise QueryInvalid("`backfill` must be true or false.", [FieldError("backfill", "must be true or false")])
    return value == "true"


def receipt_json(receipt: Receipt) -> str:
    """`{"id": …, "status": …, "links": {"self": …}}`"""
    name = str(receipt.id)
    return f'{{"id":"{name}","status":"{receipt.status}","links":{{"self":"/v1/events/{name}"}}}}'


def conflict(receipt: Receipt) -> IdempotencyConflict:
    message = f"was first used for another body, in message {receipt.id}"
    return IdempotencyConflict(f"This Idempotency-Key {message}.", [FieldError("Idempotency-Key", message)])
