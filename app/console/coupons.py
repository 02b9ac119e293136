"""*Coupons*: the list, the ledger, and the actions on a coupon, on its alerts and on the issuance limits."""

from decimal import Decimal
from typing import Annotated, Final, Literal, get_args

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.alerts.alerts import open_alerts
from platform_relay.api.paging import LONGEST_CURSOR
from platform_relay.audit.queries import list_audit
from platform_relay.console.formatting import plural
from platform_relay.console.pages import Form, PageError, Pages, Visitor, build_url
from platform_relay.core import plain_numbers
from platform_relay.core.database import map_database_errors, read_connection
from platform_relay.core.errors import as_sentence
from platform_relay.core.reasons import ReasonCode
from platform_relay.coupons import issuance_limits
from platform_relay.coupons.actions import ActionNotPossibleError, CouponActions, NoSuchCouponError
from platform_relay.coupons.ledger import read_ledger
from platform_relay.coupons.queries import find_coupon, list_coupons
from platform_relay.coupons.records import CouponState
from platform_relay.platform.rules import RewardKind

Action = Literal["approve", "value", "retire", "points"]
NOTICES: Final[dict[Action, str]] = {
    "approve": "The coupon is approved and continues.",
    "value": "The coupon continues with this value.",
    "retire": "The coupon is being made unusable in the store.",
    "points": "The points are being returned.",
}


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    services = pages.services
    actions = CouponActions(services.engine, services.actions, services.settings.coupons)

    router.routes.extend(_read_routes(pages).routes)

    @router.post("/console/coupon/dismiss")
    async def dismiss(request: Request) -> Response:
        visitor, form = await pages.form(request)
        code, why = form["code"], form.why()
        async with map_database_errors():
            dismissed = await actions.dismiss(code, visitor.name, why)
        notice = f"{plural(dismissed, 'alert')} dismissed." if dismissed else "No open alert can be dismissed by hand."
        return pages.back(request, visitor, build_url("/console/coupon", code=code), notice, failed=not dismissed)

    @router.post("/console/coupon/{action}")
    async def run_action(request: Request, action: Action) -> Response:
        visitor, form = await pages.form(request)
        back = build_url("/console/coupon", code=form["code"])
        try:
            async with map_database_errors():
                await _run(actions, visitor, action, form)
        except NoSuchCouponError as error:
            raise PageError(404, "No coupon has this code", f"{error}.") from error
        except ActionNotPossibleError as error:
            return pages.back(request, visitor, back, as_sentence(error), failed=True)
        return pages.back(request, visitor, back, NOTICES[action])

    @router.post("/console/coupons/release-limit")
    async def release_limit(request: Request) -> Response:
        visitor, form = await pages.form(request)
        async with map_database_errors():
            released, woken = await actions.release_limit(visitor.name, form.why(), form["customer"] or None)
        coupons = "1 held coupon continues" if woken == 1 else f"{woken} held coupons continue"
        notice = f"{plural(released, 'issuance limit')} released; {coupons}." if released else "No limit was reached."
        return pages.back(request, visitor, "/console/coupons", notice, failed=not released)

    return router


def _read_routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    engine = pages.services.engine

    @router.get("/console/coupons")
    async def coupons(
        request: Request,
        state: CouponState | Literal["all"] | None = None,
        customer: str = "",
        reason_code: ReasonCode | Literal[""] = "",
        cursor: Annotated[str | None, Query(max_length=LONGEST_CURSOR)] = None,
    ) -> Response:
        """Without `state`, the held coupons, which need a decision; all coupons if none is held."""
        await pages.visitor(request)
        customer = customer.replace("\x00", "")
        only = {"customer": customer or None, "reason_code": reason_code or None}
        chosen = state or "held"
        async with read_connection(engine) as connection:
            limit_reached = await issuance_limits.any_reached(connection)
            page = await list_coupons(
                connection,
                state=None if chosen == "all" else chosen,
                customer=customer or None,
                reason_code=reason_code or None,
                cursor=cursor,
            )
            if state is None and not page.items:
                chosen = "all"
                page = await list_coupons(connection, customer=customer or None, reason_code=reason_code or None)
        more = build_url("/console/coupons", state=chosen, **only, cursor=page.next_cursor)
        filters = {"state": chosen, "customer": customer, "reason_code": reason_code, "codes": list(ReasonCode)}
        states = ("all", *get_args(CouponState))
        return pages.show(
            request, "coupons", page=page, states=states, more=more, limit_reached=limit_reached, **filters
        )

    @router.get("/console/coupons/ledger")
    async def ledger(request: Request) -> Response:
        await pages.visitor(request)
        async with read_connection(engine) as connection:
            figures = await read_ledger(connection)
        return pages.show(request, "ledger", ledger=figures)

    @router.get("/console/coupon")
    async def coupon(request: Request, code: str) -> Response:
        await pages.visitor(request)
        async with read_connection(engine) as connection:
            record = await find_coupon(connection, code.replace("\x00", ""))
            if record is None:
                raise PageError(
                    404, "No coupon has this code", "Check the code, or search for the customer or the order."
                )
            audit_records = (await list_audit(connection, subject=record.code)).items
            alerts = await open_alerts(connection, record.code)
        by_hand = any(alert.by_hand for alert in alerts)
        return pages.show(
            request,
            "coupon",
            coupon=record,
            audit_records=audit_records,
            alerts=alerts,
            by_hand=by_hand,
            kinds=list(RewardKind),
        )

    return router


async def _run(actions: CouponActions, visitor: Visitor, action: Action, form: Form) -> None:
    code, why = form["code"], form.why()
    match action:
        case "approve":
            await actions.approve(code, visitor.name, why)
        case "value":
            await actions.set_value(code, *_kind_and_value(form), visitor.name, why)
        case "retire":
            await actions.retire(code, visitor.name, why)
        case "points":
            seen = form["seen"]
            await actions.return_points(code, visitor.name, why, again=seen == "missing", arrived=seen == "there")


def _kind_and_value(form: Form) -> tuple[RewardKind | None, Decimal | None]:
    """Raises ActionNotPossibleError for a value that is not a number, so that it is shown like other rejections."""
    try:
        value = plain_numbers.decimal(form["value"]) if form["value"] else None
    except plain_numbers.NotANumberError:
        raise ActionNotPossibleError("the value is not a number; write it like 5.00") from None
    kind = form["kind"]
    return RewardKind(kind) if kind in set(RewardKind) else None, value
