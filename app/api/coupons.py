"""What was issued, or is held, and why. Read only: coupons change by what the Platform and the store report."""

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path, Query
from starlette.requests import Request

from platform_relay.api.authentication import Keys
from platform_relay.api.dependencies import Services
from platform_relay.api.documentation import answer, needs_key, refusals
from platform_relay.api.event_examples import ID
from platform_relay.api.events import KEY_REFUSALS
from platform_relay.core.errors import NotFound, QueryInvalid
from platform_relay.core.reasons import ReasonCode
from platform_relay.jobs.queries import find_coupon, list_coupons, reading
from platform_relay.jobs.views import CouponPage, CouponView

State = Literal["pending", "held", "active", "used", "retired", "given_back", "refused"]
COUPON: Final = {
    "code": "0123456789ab",
    "state": "held",
    "reason_code": "no_value",
    "text": "No value is known for rule rule-7.",
    "next_step": "Add a reward rule (console, relay rules put). The coupon is then created automatically.",
    "facts": {"rule": "rule-7"},
    "kind": "fixed_amount",
    "value": None,
    "currency": None,
    "value_source": None,
    "rule_id": "rule-7",
    "rule_version": None,
    "rule_edited": False,
    "proof": None,
    "points": 500,
    "customer": "Ada Lovelace",
    "orders": None,
    "decision": None,
    "redemption_id": "0a4f6f0e-7f0d-4e59-b0b3-3d1b8d3f4c77",
    "store_id": None,
    "message_id": ID,
    "received_at": "2026-05-11T16:25:01Z",
    "created_at": "2026-05-11T16:25:01Z",
    "updated_at": "2026-05-11T16:25:02Z",
    "active_at": None,
}


def routes(services: Services, keys: Keys) -> APIRouter:
    router = APIRouter(prefix="/v1/coupons", tags=["Coupons"])

    @router.get(
        "",
        operation_id="list_coupons",
        summary="List coupons, newest first",
        responses={
            200: answer("One page.", {"items": [COUPON], "next_cursor": None}),
            **refusals(*KEY_REFUSALS, QueryInvalid),
        },
        openapi_extra=needs_key("read"),
    )
    async def coupons(
        request: Request,
        state: Annotated[State | None, Query(description="Only coupons in this state.")] = None,
        customer: Annotated[str | None, Query(description="Only those of this customer, by the store's id.")] = None,
        reason_code: Annotated[
            ReasonCode | None, Query(description="Only coupons with this reason code (docs/reason-codes.md).")
        ] = None,
        cursor: Annotated[str | None, Query(description="The last page's `next_cursor`.")] = None,
        limit: Annotated[int, Query(ge=1, le=200, description="Coupons per page.")] = 50,
    ) -> CouponPage:
        """One coupon for each redemption, with its value, where that value came from, and its state. `state=held`
        lists what waits for a person."""
        await keys.require(request, "read")
        async with reading(services.engine) as connection:
            return await list_coupons(
                connection, state=state, customer=customer, reason_code=reason_code, cursor=cursor, limit=limit
            )

    @router.get(
        "/{code}",
        operation_id="read_coupon",
        summary="Read one coupon",
        responses={200: answer("The coupon.", COUPON), **refusals(*KEY_REFUSALS, NotFound)},
        openapi_extra=needs_key("read"),
    )
    async def coupon(request: Request, code: Annotated[str, Path(description="The exact code.")]) -> CouponView:
        """The coupon's state and value; the redemption it came from is at /v1/events/{message_id}."""
        await keys.require(request, "read")
        async with reading(services.engine) as connection:
            found = await find_coupon(connection, code)
        if found is None:
            raise NotFound("No coupon has this code.")
        return found

    return router
