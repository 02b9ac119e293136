"""An order -> POST /v1/orders the first time, PATCH /v1/orders/{id} ever after.

What a second POST does is not published, so none is sent before a PATCH has said that the order is not there:

    never sent                   POST;  "already exists" → PATCH
    sent, or perhaps arrived     PATCH; "Order not found" → POST
    "Customer not found"         the customer is owed, in its own lane, and the order waits for that
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol
from uuid import UUID

from pydantic import JsonValue, ValidationError

from app.engine.jobs import Job
from app.handlers.issue_coupon import RaisesAlerts
from app.handlers.verdicts import settled, unreadable
from app.messages import PERHAPS, PLATFORM, OrderEvent, coupon_lane, customer_lane, customer_of
from app.outcomes import Outcome, Owed, Reject, Retry, Skip, Wait
from app.platform import translate
from app.platform.answers import Meaning, Refused, Verdict
from app.platform.fields import Fields

UNPAID_FOR_GOOD: Final = ("voided", "expired")
"""Orders with these statuses have used up no coupon."""
RECHECK: Final = 300.0
"""Seconds; the customer's delivery wakes the order long before."""


class SendsOrders(Protocol):
    @property
    def fields(self) -> Fields: ...
    async def create_order(self, order_id: str, body: Mapping[str, JsonValue]) -> Verdict: ...
    async def update_order(self, order_id: str, body: Mapping[str, JsonValue]) -> Verdict: ...


class OurCoupon(Protocol):
    @property
    def code(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def orders(self) -> Mapping[str, str] | None: ...
    @property
    def ordered(self) -> Mapping[str, object] | None: ...


class KnowsCoupons(Protocol):
    async def find_all(self, codes: Sequence[str]) -> Sequence[OurCoupon]:
        """Our coupons among these codes, in any case."""

    async def seen_in_order(self, code: str, order_id: str, status: str) -> OurCoupon | None:
        """Note that an order carries the code, with its newest financial status."""


class Delivery(Protocol):
    @property
    def state(self) -> str:
        """`open`, `failed` or `ended`."""

    @property
    def detail(self) -> str | None: ...


class KnowsDeliveries(Protocol):
    async def owed_by(self, message_id: UUID) -> Delivery | None:
        """What became of the customer's delivery that an order's message owes; None when it owes none yet."""


class RelayOrder:
    def __init__(
        self, platform: SendsOrders, coupons: KnowsCoupons, customers: KnowsDeliveries, alerts: RaisesAlerts
    ) -> None:
        self._platform = platform
        self._coupons = coupons
        self._customers = customers
        self._alerts = alerts

    async def __call__(self, job: Job) -> Outcome:
        try:
            order = OrderEvent.parse(job.body)
        except ValidationError as error:
            return unreadable(error)
        body = translate.order(order, self._platform.fields)
        digest = translate.digest(body)
        if job.known and job.delivered == digest:
            return Skip("unchanged: the Platform was last given the same")
        owes = await self._rewards_used(order)
        verdict = await self._send(
            order.id, body, update_first=job.known or job.uncertain or PERHAPS.items() <= job.params.items()
        )
        if isinstance(verdict, Refused) and verdict.meaning is Meaning.CUSTOMER_NOT_FOUND:
            return await self._without_customer(job, order, verdict)
        if isinstance(verdict, Refused) and verdict.meaning in (Meaning.ALREADY_EXISTS, Meaning.ORDER_NOT_FOUND):
            why = f"the Platform contradicts itself about order {order.id}: {verdict.text}"
            return Retry(why, evidence=verdict.evidence)
        return settled(verdict, digest, owes)

    async def _send(self, order_id: str, body: Mapping[str, JsonValue], *, update_first: bool) -> Verdict:
        if not update_first:
            verdict = await self._platform.create_order(order_id, body)
            if _is(verdict, Meaning.ALREADY_EXISTS):
                verdict = await self._platform.update_order(order_id, body)
            return verdict
        verdict = await self._platform.update_order(order_id, body)
        if _is(verdict, Meaning.ORDER_NOT_FOUND):
            verdict = await self._platform.create_order(order_id, body)
        return verdict

    async def _rewards_used(self, order: OrderEvent) -> tuple[Owed, ...]:
        """What the order's coupons of ours owe. Each remembers the order, so a refund shows and a second use is seen."""
        if not order.discountCodes:
            return ()
        ours = await self._coupons.find_all([discount.code for discount in order.discountCodes])
        for coupon in ours:
            seen = await self._coupons.seen_in_order(coupon.code, order.id, order.financialStatus)
            if seen is not None and (detail := over_used(seen)):
                first = "compare the orders; if it can still be used in the shop, remove it there; then dismiss this"
                await self._alerts.raise_alert("coupon_over_used", coupon.code, detail, first, again=False)
        if order.financialStatus in UNPAID_FOR_GOOD:
            return ()
        return tuple(
            Owed("use_reward", PLATFORM, coupon_lane(coupon.code), params={"code": coupon.code, "order": order.id})
            for coupon in ours
            if coupon.state not in ("used", "refused")
        )

    async def _without_customer(self, job: Job, order: OrderEvent, said: Refused) -> Outcome:
        """The customer is put once for this order; that job is the memory of it, so nothing goes round in circles."""
        customer = customer_of(order)
        if customer is None:
            why = f"the Platform says: {said.text}; the order names neither a customer nor an e-mail address"
            return Reject(why, said.evidence)
        lane, earlier = customer_lane(customer), await self._customers.owed_by(job.message_id)
        if earlier is None:
            put = Owed("relay_customer", PLATFORM, lane, params={"from": "order"}, collapse=True)
            why = "the Platform does not know the customer, who is put first"
            return Wait(why, lane, RECHECK, (put,), said.evidence)
        if earlier.state == "open":
            return Wait("waits for the customer's delivery", lane, RECHECK, evidence=said.evidence)
        if earlier.state == "failed":
            why = f"the Platform does not know the customer and did not take it: {earlier.detail or 'see its own job'}"
            return Reject(f"{why}. Correct the customer, then retry this order.", said.evidence)
        return Retry(f"the customer was put, and the Platform still says: {said.text}", None, said.evidence)


def over_used(coupon: OurCoupon) -> str | None:
    """Whether more orders used the coupon than may, or one that should have been unusable, in words. Pure."""
    used = sorted(order for order, status in (coupon.orders or {}).items() if status not in UNPAID_FOR_GOOD)
    limit = (coupon.ordered or {}).get("usage_limit", 1)
    if coupon.state in ("retired", "given_back", "refused") and used:
        return f"it is {coupon.state}, and order {', '.join(used)} used it"
    if isinstance(limit, int) and len(used) > limit:
        return f"{len(used)} orders used it, {limit} may: {', '.join(used)}"
    return None


def _is(verdict: Verdict, meaning: Meaning) -> bool:
    return isinstance(verdict, Refused) and verdict.meaning is meaning
