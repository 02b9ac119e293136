"""Coupons: list and read them, the actions of an operator, the ledger and the issuance limits. The audit keeps every action."""

from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from platform_relay.api.authentication import READ, OperateAccess
from platform_relay.api.dependencies import ServicesDep
from platform_relay.api.documentation import BODY_PROBLEMS, KEY_PROBLEMS, problem_responses, success
from platform_relay.api.examples import COUPON, LEDGER
from platform_relay.api.jobs import OperatorAction
from platform_relay.api.paging import PageDep
from platform_relay.api.request_body import JsonBody
from platform_relay.core.database import map_database_errors, read_connection
from platform_relay.core.errors import NotFound, QueryInvalid, WrongState, as_sentence
from platform_relay.core.paging import Page
from platform_relay.core.plain_numbers import PLAIN
from platform_relay.core.reasons import ReasonCode
from platform_relay.coupons.actions import ActionNotPossibleError, CouponActions, NoSuchCouponError
from platform_relay.coupons.ledger import Ledger, read_ledger
from platform_relay.coupons.queries import CouponView, find_coupon, list_coupons
from platform_relay.coupons.records import CouponState
from platform_relay.inbox.events import Money
from platform_relay.platform.rules import RewardKind

Code = Annotated[str, Path(min_length=1, max_length=255, description="The exact code of the coupon.")]
ACTION_PROBLEMS: Final = (*BODY_PROBLEMS, NotFound, WrongState, QueryInvalid)


class CouponValue(OperatorAction):
    """The value that an operator sets for one coupon."""

    kind: RewardKind | None = Field(None, description="The kind of the coupon; required when it is not known yet.")
    value: Money | None = Field(None, description="An amount in the store's currency, or a percentage.")


class PointsReturn(OperatorAction):
    points: Annotated[int, Field(ge=1), PLAIN] | None = Field(
        None, description="The number of points; if left out, the points that were redeemed."
    )
    again: bool = Field(
        False,
        description="Set this when the result of an earlier attempt is unknown and you have seen at the Platform that the"
        " points are missing: they are sent again.",
    )
    arrived: bool = Field(
        False,
        description="Set this when the result of an earlier attempt is unknown and you have seen at the Platform that the"
        " points are there: they count as returned, and none are sent.",
    )


class IssuanceLimitRelease(OperatorAction):
    customer: str | None = Field(
        None, description="Only release the limits of this customer, by the store's id; if left out, all limits."
    )


class ReleasedLimits(BaseModel):
    model_config = ConfigDict(frozen=True)

    released: int = Field(description="The number of limits that were reached and are released.")
    woken: int = Field(description="The number of held coupons that continue.")


async def coupon_actions(services: ServicesDep) -> AsyncIterator[CouponActions]:
    """The actions. Their errors become NotFound, WrongState and DatabaseAway."""
    try:
        async with map_database_errors():
            yield CouponActions(services.engine, services.actions, services.settings.coupons)
    except NoSuchCouponError as error:
        raise NotFound(as_sentence(error)) from error
    except ActionNotPossibleError as error:
        raise WrongState(as_sentence(error)) from error


Actions = Annotated[CouponActions, Depends(coupon_actions, scope="function")]
router: Final = APIRouter(prefix="/v1", tags=["Coupons"])


@router.get(
    "/coupons",
    operation_id="list_coupons",
    summary="List coupons, newest first",
    responses={
        200: success("One page of coupons.", {"items": [COUPON], "next_cursor": None}),
        **problem_responses(*KEY_PROBLEMS, QueryInvalid),
    },
    dependencies=[READ],
)
async def get_coupons(
    services: ServicesDep,
    page: PageDep,
    state: Annotated[CouponState | None, Query(description="Only coupons in this state.")] = None,
    customer: Annotated[str | None, Query(description="Only coupons of this customer, by the store's id.")] = None,
    reason_code: Annotated[
        ReasonCode | None, Query(description="Only coupons with this reason code (docs/reason-codes.md).")
    ] = None,
) -> Page[CouponView]:
    """There is one coupon for each redemption or reward, with its state, its value and the source of the value. `state=held`
    lists the coupons that need a decision, `state=refused` those of redemptions that are not genuine."""
    async with read_connection(services.engine) as connection:
        return await list_coupons(
            connection,
            state=state,
            customer=customer,
            reason_code=reason_code,
            cursor=page.cursor,
            limit=page.limit,
        )


@router.get(
    "/coupons/{code}",
    operation_id="read_coupon",
    summary="Read a coupon",
    responses={200: success("The coupon.", COUPON), **problem_responses(*KEY_PROBLEMS, NotFound)},
    dependencies=[READ],
)
async def read_coupon(
    services: ServicesDep, code: Annotated[str, Path(description="The exact code of the coupon.")]
) -> CouponView:
    """The coupon's state and value. The webhook that it came from is at /v1/events/{message_id}."""
    async with read_connection(services.engine) as connection:
        coupon = await find_coupon(connection, code)
    if coupon is None:
        raise NotFound("No coupon has this code.")
    return coupon


@router.post(
    "/coupons/{code}/approve",
    operation_id="approve_coupon",
    summary="Approve a held or refused coupon",
    responses={200: success("The coupon will be created.", COUPON), **problem_responses(*ACTION_PROBLEMS)},
)
async def approve_coupon(
    caller: OperateAccess,
    body: Annotated[
        OperatorAction, Depends(JsonBody(OperatorAction, {"why": "The customer showed the redemption in her account."}))
    ],
    actions: Actions,
    services: ServicesDep,
    code: Code,
) -> CouponView:
    """The coupon is created without further verification and even above the issuance limits. Its value is still
    checked, and it is read back from the store."""
    await actions.approve(code, caller.name, body.why)
    return await read_coupon(services, code)


@router.post(
    "/coupons/{code}/value",
    operation_id="set_coupon_value",
    summary="Set the value of a held coupon",
    responses={
        200: success("The coupon will be created with this value.", COUPON),
        **problem_responses(*ACTION_PROBLEMS),
    },
)
async def set_coupon_value(
    caller: OperateAccess,
    body: Annotated[
        CouponValue,
        Depends(JsonBody(CouponValue, {"kind": "fixed_amount", "value": "5.00", "why": "The rule had a wrong value."})),
    ],
    actions: Actions,
    services: ServicesDep,
    code: Code,
) -> CouponView:
    """Sets the value of this coupon only, and approves it. It applies to the whole order: the products, variants and minimum
    spend of its reward rule are ignored. To set the value of all redemptions of a rule, use /v1/reward-rules."""
    await actions.set_value(code, body.kind, body.value, caller.name, body.why)
    return await read_coupon(services, code)


@router.post(
    "/coupons/{code}/retire",
    operation_id="retire_coupon",
    summary="Retire a coupon",
    responses={200: success("A job removes the coupon from the store.", COUPON), **problem_responses(*ACTION_PROBLEMS)},
)
async def retire_coupon(
    caller: OperateAccess,
    body: Annotated[OperatorAction, Depends(JsonBody(OperatorAction, {"why": "The order was cancelled."}))],
    actions: Actions,
    services: ServicesDep,
    code: Code,
) -> CouponView:
    """An active coupon is removed from the store; a pending or held one is never created there. The coupon is `retired` when the
    store has confirmed it. A used coupon cannot be retired."""
    await actions.retire(code, caller.name, body.why)
    return await read_coupon(services, code)


@router.post(
    "/coupons/{code}/return-points",
    operation_id="return_points",
    summary="Return the points of a retired coupon",
    responses={200: success("A job returns the points, once.", COUPON), **problem_responses(*ACTION_PROBLEMS)},
)
async def return_points(
    caller: OperateAccess,
    body: Annotated[PointsReturn, Depends(JsonBody(PointsReturn, {"why": "The customer changed her mind."}))],
    actions: Actions,
    services: ServicesDep,
    code: Code,
) -> CouponView:
    """Points are returned only for a retired coupon, and only once. The Platform offers no way to check whether points
    arrived. Therefore the relay never repeats an attempt whose response was lost: it raises an alert for an operator."""
    await actions.return_points(code, caller.name, body.why, body.points, again=body.again, arrived=body.arrived)
    return await read_coupon(services, code)


@router.post(
    "/coupons/{code}/dismiss",
    operation_id="dismiss_coupon_alerts",
    summary="Dismiss the alerts about a coupon",
    responses={200: success("The alerts are closed.", COUPON), **problem_responses(*ACTION_PROBLEMS)},
)
async def dismiss_coupon_alerts(
    caller: OperateAccess,
    body: Annotated[
        OperatorAction, Depends(JsonBody(OperatorAction, {"why": "Two orders of one basket; the store is right."}))
    ],
    actions: Actions,
    services: ServicesDep,
    code: Code,
) -> CouponView:
    """Closes the alerts `coupon_overused` and `points_in_doubt`, which never close automatically. `coupon_overused` is raised
    again only when another order uses the coupon."""
    coupon = await read_coupon(services, code)
    if not await actions.dismiss(code, caller.name, body.why):
        raise WrongState(f"The coupon {code} has no open alert that can be dismissed.")
    return coupon


@router.get(
    "/ledger",
    operation_id="read_ledger",
    summary="Read the ledger of coupons",
    responses={200: success("The ledger of one database snapshot.", LEDGER), **problem_responses(*KEY_PROBLEMS)},
    dependencies=[READ],
)
async def get_ledger(services: ServicesDep) -> Ledger:
    """In each currency: redeemed = active + used + held + retired + points_returned. Coupons without an amount (percentages, free
    shipping, free products) are only counted. `refused` redemptions are not genuine and in no sum. This reads all coupons."""
    async with read_connection(services.engine) as connection:
        return await read_ledger(connection)


@router.post(
    "/issuance-limits/release",
    operation_id="release_issuance_limits",
    summary="Release issuance limits that were reached",
    responses={
        200: success("The limits are released.", {"released": 1, "woken": 12}),
        **problem_responses(*BODY_PROBLEMS),
    },
)
async def release_issuance_limits(
    caller: OperateAccess,
    body: Annotated[
        IssuanceLimitRelease,
        Depends(JsonBody(IssuanceLimitRelease, {"why": "A newsletter was sent; all redemptions are genuine."})),
    ],
    actions: Actions,
) -> ReleasedLimits:
    """Coupons that were held because an issuance limit (COUPONS__ISSUANCE_LIMITS__…) was reached continue, and counting
    starts again at zero."""
    released, woken = await actions.release_limit(caller.name, body.why, body.customer)
    return ReleasedLimits(released=released, woken=woken)
