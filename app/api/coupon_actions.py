"""What an operator does about a coupon, and the ledger of all of them. Every act is in the audit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from platform_relay.api.authentication import Keys
from platform_relay.api.coupons import COUPON
from platform_relay.api.dependencies import Services
from platform_relay.api.documentation import answer, body_of, needs_key, refusals
from platform_relay.api.events import KEY_REFUSALS
from platform_relay.api.operator import BODY_REFUSALS, Why
from platform_relay.api.request_body import read_model
from platform_relay.core.errors import NotFound, QueryInvalid, WrongState, as_sentence
from platform_relay.coupons.actions import Correction, CouponActions, ImpossibleError, NoSuchCouponError
from platform_relay.coupons.ledger import Ledger, read_ledger
from platform_relay.inbox.messages import Money
from platform_relay.jobs.queries import find_coupon, reading, when_away
from platform_relay.jobs.views import CouponView
from platform_relay.platform.rules import RewardKind

Code = Annotated[str, Path(min_length=1, max_length=255, description="The exact code.")]
ACT_REFUSALS: Final = (*BODY_REFUSALS, NotFound, WrongState, QueryInvalid)
_COUNTS: Final = {"active": 1, "used": 1, "held": 0, "retired": 0, "given_back": 0}
LEDGER: Final = {
    "currencies": [
        {
            "currency": "EUR",
            "coupons": 2,
            "redeemed": "12.50",
            "active": "7.50",
            "used": "5.00",
            "held": "0",
            "retired": "0",
            "given_back": "0",
            "counts": _COUNTS,
        }
    ],
    "kinds": [{"kind": "free_shipping", "coupons": 2, "counts": _COUNTS}],
    "balanced": True,
}


class CouponValue(Why):
    """What the coupon is to be worth, by the operator's word."""

    kind: RewardKind | None = Field(None, description="What it gives; needed when nothing told its kind.")
    value: Money | None = Field(None, description="Amount in the store's currency, or per cent.")


class PointsBack(Why):
    points: Annotated[int, Field(ge=1)] | None = Field(None, description="How many; left out: what was redeemed.")
    again: bool = Field(
        False,
        description="An earlier try ended in doubt, and you have seen at the Platform that the points are missing.",
    )
    arrived: bool = Field(
        False,
        description="The same, and you have seen that the points are there: they count as given back, none are sent.",
    )


class IssuanceLimitRelease(Why):
    customer: str | None = Field(None, description="Only this customer's fuse, by the store's id; left out: every one.")


class Released(BaseModel):
    model_config = ConfigDict(frozen=True)

    released: int = Field(description="How many fuses had blown.")
    woken: int = Field(description="Held coupons that go on now.")


BODIES: Final = (CouponValue, PointsBack, IssuanceLimitRelease)


def routes(services: Services, keys: Keys) -> APIRouter:
    router = APIRouter(prefix="/v1/coupons", tags=["Coupons"])
    limit = services.settings.body_limit
    desk = CouponActions(services.engine, services.operator, services.settings.coupons)

    _on_all_coupons(router, services, keys, desk)

    @router.post(
        "/{code}/approve",
        operation_id="approve_coupon",
        summary="Make a held coupon all the same",
        responses={200: answer("It goes on.", COUPON), **refusals(*ACT_REFUSALS)},
        openapi_extra=needs_key("operate")
        | body_of(Why, {"why": "The customer showed the redemption in her account."}),
    )
    async def approve(request: Request, code: Code) -> CouponView:
        """The coupon needs no further proof and passes the fuse; its value and the store's read-back are checked as
        always."""
        caller = await keys.require(request, "operate")
        wanted = await read_model(request, Why, limit)
        async with _told(), when_away():
            await desk.approve(code, caller.name, wanted.why)
        return await _read(services, code)

    @router.post(
        "/{code}/value",
        operation_id="correct_coupon",
        summary="Say what a held coupon is worth",
        responses={200: answer("It goes on with this value.", COUPON), **refusals(*ACT_REFUSALS)},
        openapi_extra=needs_key("operate")
        | body_of(CouponValue, {"kind": "fixed_amount", "value": "5.00", "why": "The rule had a wrong value."}),
    )
    async def correct(request: Request, code: Code) -> CouponView:
        """For this one coupon, and for the whole order: products, variants and minimum spend of its rule do not count. It
        counts as approved. What all redemptions by a rule are worth is said with /v1/reward-rules."""
        caller = await keys.require(request, "operate")
        wanted = await read_model(request, CouponValue, limit)
        async with _told(), when_away():
            await desk.correct(code, Correction(wanted.kind, wanted.value), caller.name, wanted.why)
        return await _read(services, code)

    @router.post(
        "/{code}/retire",
        operation_id="retire_coupon",
        summary="Make a coupon unusable",
        responses={200: answer("A job makes it unusable in the store.", COUPON), **refusals(*ACT_REFUSALS)},
        openapi_extra=needs_key("operate") | body_of(Why, {"why": "The order was cancelled."}),
    )
    async def retire(request: Request, code: Code) -> CouponView:
        """A pending, held or active coupon is removed from the store, or never made there. It is `retired` once the store
        has done so; a used one cannot be."""
        caller = await keys.require(request, "operate")
        wanted = await read_model(request, Why, limit)
        async with _told(), when_away():
            await desk.retire(code, caller.name, wanted.why)
        return await _read(services, code)

    @router.post(
        "/{code}/return-points",
        operation_id="return_points",
        summary="Give a retired coupon's points back",
        responses={200: answer("A job gives them back, once.", COUPON), **refusals(*ACT_REFUSALS)},
        openapi_extra=needs_key("operate") | body_of(PointsBack, {"why": "The customer changed her mind."}),
    )
    async def return_points(request: Request, code: Code) -> CouponView:
        """Only for a retired coupon, and only once. The Platform cannot be asked whether it gave points, so a try
        whose answer was lost is never repeated by itself: it raises an alert for a person."""
        caller = await keys.require(request, "operate")
        wanted = await read_model(request, PointsBack, limit)
        async with _told(), when_away():
            await desk.return_points(
                code, caller.name, wanted.why, wanted.points, again=wanted.again, arrived=wanted.arrived
            )
        return await _read(services, code)

    return router


def _on_all_coupons(router: APIRouter, services: Services, keys: Keys, desk: CouponActions) -> None:
    """Add the ledger, the fuse, and dismissing alerts."""
    limit = services.settings.body_limit

    @router.get(
        "/ledger",
        operation_id="read_ledger",
        summary="Read the ledger: what was redeemed and what became of it",
        responses={200: answer("From one moment.", LEDGER), **refusals(*KEY_REFUSALS)},
        openapi_extra=needs_key("read"),
    )
    async def ledger(request: Request) -> Ledger:
        """Per currency, at any moment: redeemed = active + used + held + retired + given_back. Coupons without an amount
        (percentages, free shipping, free products) are counted. Reads all coupons."""
        await keys.require(request, "read")
        async with reading(services.engine) as connection:
            return await read_ledger(connection)

    @router.post(
        "/fuse/release",
        operation_id="release_limit",
        summary="Release the fuse after a look",
        responses={200: answer("Released.", {"released": 1, "woken": 12}), **refusals(*BODY_REFUSALS)},
        openapi_extra=needs_key("operate")
        | body_of(IssuanceLimitRelease, {"why": "A newsletter went out; all are genuine."}),
    )
    async def release_limit(request: Request) -> Released:
        """Coupons that were held because a limit of COUPONS__LIMITS was reached go on, and counting starts anew."""
        caller = await keys.require(request, "operate")
        wanted = await read_model(request, IssuanceLimitRelease, limit)
        async with when_away():
            released, woken = await desk.release_limit(caller.name, wanted.why, wanted.customer)
        return Released(released=released, woken=woken)

    @router.post(
        "/{code}/dismiss",
        operation_id="dismiss_coupon_alerts",
        summary="Dismiss the alerts about a coupon after a look",
        responses={200: answer("They are ended.", COUPON), **refusals(*ACT_REFUSALS)},
        openapi_extra=needs_key("operate") | body_of(Why, {"why": "Two orders of one basket; the store has it right."}),
    )
    async def dismiss(request: Request, code: Code) -> CouponView:
        """Ends the alerts `coupon_overused` and `points_in_doubt`, which nothing else ends. An overused coupon raises the
        alert again only when another order carries its code."""
        caller = await keys.require(request, "operate")
        wanted = await read_model(request, Why, limit)
        coupon = await _read(services, code)
        async with when_away():
            ended = await desk.dismiss(code, caller.name, wanted.why)
        if not ended:
            raise WrongState(f"No alert about the coupon {code} is open that is dismissed by hand.")
        return coupon


async def _read(services: Services, code: str) -> CouponView:
    async with reading(services.engine) as connection:
        found = await find_coupon(connection, code)
    if found is None:
        raise NotFound("No coupon has this code.")
    return found


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """What the desk refuses, as problems."""
    try:
        yield
    except NoSuchCouponError as error:
        raise NotFound(f"{error}.") from error
    except ImpossibleError as error:
        raise WrongState(as_sentence(error)) from error
