"""*Coupons*: what was issued or is held and why; approving, valuing, retiring, giving points back, the fuse, alerts."""

from decimal import Decimal, InvalidOperation
from typing import Final, Literal, get_args

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.alerts.alerts import open_alerts
from platform_relay.audit.queries import list_audit
from platform_relay.console.formatting import many
from platform_relay.console.pages import Form, Pages, Refused, Visitor, query
from platform_relay.core.errors import as_sentence
from platform_relay.core.reasons import ReasonCode
from platform_relay.coupons.actions import Correction, CouponActions, ImpossibleError, NoSuchCouponError
from platform_relay.coupons.ledger import read_ledger
from platform_relay.jobs.queries import find_coupon, list_coupons, reading, when_away
from platform_relay.platform.rules import RewardKind

State = Literal["pending", "held", "active", "used", "retired", "given_back", "refused"]
Act = Literal["approve", "value", "retire", "points"]
SAID: Final[dict[Act, str]] = {
    "approve": "It is approved, and goes on.",
    "value": "It goes on with this value.",
    "retire": "It is being made unusable in the store.",
    "points": "The points are being given back.",
}


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    services = pages.services
    desk = CouponActions(services.engine, services.operator, services.settings.coupons)

    router.routes.extend(_reading(pages).routes)

    @router.post("/console/coupon/dismiss")
    async def dismiss(request: Request) -> Response:
        visitor, form = await pages.form(request)
        code, why = form["code"], form.why()
        async with when_away():
            ended = await desk.dismiss(code, visitor.name, why)
        said = f"{many(ended, 'alert')} dismissed." if ended else "No alert was open that is dismissed by hand."
        return pages.back(request, visitor, query("/console/coupon", code=code), said, failed=not ended)

    @router.post("/console/coupon/{act}")
    async def act(request: Request, act: Act) -> Response:
        visitor, form = await pages.form(request)
        back = query("/console/coupon", code=form["code"])
        try:
            async with when_away():
                await _do(desk, visitor, act, form)
        except NoSuchCouponError as error:
            raise Refused(404, "No coupon has this code", f"{error}.") from error
        except ImpossibleError as error:
            return pages.back(request, visitor, back, as_sentence(error), failed=True)
        return pages.back(request, visitor, back, SAID[act])

    @router.post("/console/coupons/fuse")
    async def release(request: Request) -> Response:
        visitor, form = await pages.form(request)
        async with when_away():
            released, woken = await desk.release_limit(visitor.name, form.why(), form["customer"] or None)
        go_on = "1 held coupon goes on" if woken == 1 else f"{woken} held coupons go on"
        said = f"{many(released, 'fuse')} released; {go_on}." if released else "No fuse had blown."
        return pages.back(request, visitor, "/console/coupons", said, failed=not released)

    return router


def _reading(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    engine = pages.services.engine

    @router.get("/console/coupons")
    async def coupons(
        request: Request,
        state: State | Literal["all"] = "held",
        customer: str = "",
        reason_code: ReasonCode | Literal[""] = "",
        cursor: str | None = None,
    ) -> Response:
        await pages.visitor(request)
        which = None if state == "all" else state
        customer = customer.replace("\x00", "")
        only = {"customer": customer or None, "reason_code": reason_code or None}
        async with reading(engine) as connection:
            page = await list_coupons(
                connection, state=which, customer=customer or None, reason_code=reason_code or None, cursor=cursor
            )
        more = query("/console/coupons", state=state, **only, cursor=page.next_cursor)
        filters = {"state": state, "customer": customer, "reason_code": reason_code, "codes": list(ReasonCode)}
        return pages.show(request, "coupons", page=page, states=("all", *get_args(State)), more=more, **filters)

    @router.get("/console/coupons/ledger")
    async def ledger(request: Request) -> Response:
        await pages.visitor(request)
        async with reading(engine) as connection:
            figures = await read_ledger(connection)
        return pages.show(request, "ledger", ledger=figures)

    @router.get("/console/coupon")
    async def coupon(request: Request, code: str) -> Response:
        await pages.visitor(request)
        async with reading(engine) as connection:
            found = await find_coupon(connection, code.replace("\x00", ""))
            if found is None:
                raise Refused(
                    404, "No coupon has this code", "Check the code, or search for the customer or the order."
                )
            acts = await list_audit(connection, subject=found.code)
            alerts = await open_alerts(connection, found.code)
        by_hand = any(alert.by_hand for alert in alerts)
        return pages.show(
            request, "coupon", coupon=found, acts=acts, alerts=alerts, by_hand=by_hand, kinds=list(RewardKind)
        )

    return router


async def _do(desk: CouponActions, visitor: Visitor, act: Act, form: Form) -> None:
    code, why = form["code"], form.why()
    match act:
        case "approve":
            await desk.approve(code, visitor.name, why)
        case "value":
            await desk.correct(code, _correction(form), visitor.name, why)
        case "retire":
            await desk.retire(code, visitor.name, why)
        case "points":
            seen = form["seen"]
            await desk.return_points(code, visitor.name, why, again=seen == "missing", arrived=seen == "there")


def _correction(form: Form) -> Correction:
    """Raises ImpossibleError for what is no number, so that it is told like the desk's own refusals."""
    try:
        value = Decimal(form["value"]) if form["value"] else None
    except InvalidOperation:
        raise ImpossibleError("the value is not a number; write it like 5.00") from None
    if value is not None and not value.is_finite():
        raise ImpossibleError("the value is not a number; write it like 5.00")
    kind = form["kind"]
    return Correction(RewardKind(kind) if kind in set(RewardKind) else None, value)
