"""The endpoints for the store's events: an event is parsed once, passed to the inbox, and answered after the commit.

This is the hot path. It reads the raw body, uses no dependencies and no response model, and writes its response by hand.
"""

import time
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response
from uuid_utils.compat import uuid7

from platform_relay.api.authentication import READ, Authenticator
from platform_relay.api.dependencies import Services, ServicesDep
from platform_relay.api.documentation import KEY_PROBLEMS, body_of, needs_key, problem_responses, success
from platform_relay.api.event_bodies import event_message, idempotency_key
from platform_relay.api.examples import EXAMPLES, MESSAGE, RECEIPT
from platform_relay.api.raw_route import RawRoute
from platform_relay.api.request_body import read_json_body
from platform_relay.api.root_path import root_path_of
from platform_relay.core.database import read_connection
from platform_relay.core.errors import (
    BodyTooLarge,
    BodyTooSlow,
    EncodingRefused,
    FieldError,
    FieldsInvalid,
    HeaderInvalid,
    IdempotencyConflict,
    NotFound,
    NotJson,
    Problem,
    QueryInvalid,
)
from platform_relay.core.logs import log_message
from platform_relay.history.limits import missing_message
from platform_relay.inbox.events import EVENTS, EventKind
from platform_relay.inbox.inbox import Inbox, Receipt
from platform_relay.inbox.versions import future_version_problem, is_too_far_ahead
from platform_relay.jobs.queries import find_message
from platform_relay.jobs.views import MessageView

EVENT_PROBLEMS: Final = (
    *KEY_PROBLEMS,
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
            "description": "Your own id for this event. If you repeat the key with the same body, you get the first receipt"
            " (200). If you repeat it with a different body, the event is rejected (409).",
        },
        {
            "name": "backfill",
            "in": "query",
            "required": False,
            "schema": {"type": "boolean", "default": False},
            "description": "`true`: the event is part of an import and is delivered after all live events.",
        },
    ]
}


router: Final = APIRouter(prefix="/v1/events", tags=["Events"])


@router.get(
    "/{message_id}",
    operation_id="read_event",
    summary="Read an event with its jobs and attempts",
    responses={
        200: success("The message, its jobs, and every attempt.", MESSAGE),
        **problem_responses(*KEY_PROBLEMS, NotFound, QueryInvalid),
    },
    dependencies=[READ],
)
async def read_event(
    services: ServicesDep, message_id: Annotated[UUID, Path(description="The id from the receipt.")]
) -> MessageView:
    """The current state of the event, its jobs, and every attempt. To read a webhook, use the id from its receipt."""
    async with read_connection(services.engine) as connection:
        message = await find_message(connection, message_id)
    if message is None:
        raise NotFound(missing_message(message_id, datetime.now(UTC), services.settings.history))
    return message


def routes(services: Services, authenticator: Authenticator) -> APIRouter:
    router = APIRouter(prefix="/v1/events", tags=["Events"])
    inbox, metrics, limit = services.inbox, services.metrics, services.settings.event_limit

    async def accept(request: Request, kind: EventKind) -> Response:
        started = time.perf_counter()
        caller = await authenticator.require(request, "events")
        key = idempotency_key(request.headers.get("idempotency-key"))
        raw = await read_json_body(request, limit)
        message_id = uuid7()
        read = partial(event_message, kind, raw, str(message_id), key, backfill=is_backfill(request))
        message = await services.compute.run_if_large(len(raw), read)
        if isinstance(message, Problem):
            metrics.message(kind, "refused")
            raise message
        try:
            await require_possible_version(inbox, message.version)
        except FieldsInvalid:
            metrics.message(kind, "refused")
            raise
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
        return Response(receipt_json(receipt, root_path_of(request)), status, media_type="application/json")

    async def customers(request: Request) -> Response:
        return await accept(request, EventKind.CUSTOMER)

    async def orders(request: Request) -> Response:
        return await accept(request, EventKind.ORDER)

    async def products(request: Request) -> Response:
        return await accept(request, EventKind.PRODUCT)

    for kind, endpoint, summary, description in (
        (EventKind.CUSTOMER, customers, "Report a customer", CUSTOMERS),
        (EventKind.ORDER, orders, "Report an order", ORDERS),
        (EventKind.PRODUCT, products, "Report a product", PRODUCTS),
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
                202: success("The event is stored and will be delivered.", RECEIPT),
                200: success(
                    "The event was accepted before; this is the first receipt.", {**RECEIPT, "status": "duplicate"}
                ),
                **problem_responses(*EVENT_PROBLEMS),
            },
            openapi_extra=needs_key("events") | EVENT_PARAMETERS | body_of(EVENTS[kind], EXAMPLES[kind]),
        )

    return router


CUSTOMERS: Final = "The Platform keeps the newest version: a waiting version is replaced by a newer one."
ORDERS: Final = (
    "The relay sends every version, in the order of acceptance. If the first delivery of the order's customer is pending, the"
    " order waits for it. `financialStatus` decides whether points are given."
)
PRODUCTS: Final = "The Platform keeps the newest version. If `variants` is given, it must be the complete list."
STORED: Final = (
    "\n\nThe relay answers only after the event is committed to the database. Fields that are not described here are stored and"
    " forwarded unchanged."
)


async def require_possible_version(inbox: Inbox, version: datetime | None) -> None:
    """Raises FieldsInvalid for an `updatedAt` in the future by the database's clock, and DatabaseAway."""
    if version is not None and is_too_far_ahead(version, now := await inbox.clock.now()):
        raise impossible_version(version, now)


def impossible_version(version: datetime, now: datetime) -> FieldsInvalid:
    """The problem of an `updatedAt` that lies too far ahead of `now`."""
    problem = future_version_problem(version, now)
    return FieldsInvalid(f"`updatedAt`: {problem}.", [FieldError("updatedAt", problem)])


def is_backfill(request: Request) -> bool:
    """Whether the query contains `backfill=true`. Raises QueryInvalid for a value other than true and false."""
    if not request.scope["query_string"]:
        return False
    value = request.query_params.get("backfill", "false")
    if value not in ("true", "false"):
        raise QueryInvalid("`backfill` must be true or false.", [FieldError("backfill", "must be true or false")])
    return value == "true"


def receipt_json(receipt: Receipt, root_path: str) -> str:
    """`{"id": …, "status": …, "links": {"self": …}}`. `root_path` is the path under which the relay is served."""
    name = str(receipt.id)
    return f'{{"id":"{name}","status":"{receipt.status}","links":{{"self":"{root_path}/v1/events/{name}"}}}}'


def conflict(receipt: Receipt) -> IdempotencyConflict:
    message = f"was used before with a different body, in message {receipt.id}"
    return IdempotencyConflict(f"This Idempotency-Key {message}.", [FieldError("Idempotency-Key", message)])
