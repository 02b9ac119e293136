"""An order -> POST /v1/orders the first time, PATCH /v1/orders/{id} ever after.

What a second POST does is not published, so none is sent before a PATCH was answered with "Order not found":

    never sent                   POST;  "already exists" → PATCH
    sent, or perhaps arrived     PATCH; "Order not found" → POST
    "Customer not found"         the customer is sent first, in its own lane, and the order waits for that
"""

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue, ValidationError

from platform_relay.alerts.alerts import Alerts
from platform_relay.core.outcomes import JobSpec, Outcome, Reject, Retry, Wait
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.coupons.transitions import CouponRecord, Coupons
from platform_relay.inbox.messages import MAYBE_DELIVERED, PLATFORM, OrderEvent, coupon_lane, customer_lane, customer_of
from platform_relay.inbox.stored_customers import Customers
from platform_relay.platform import translate
from platform_relay.platform.answers import Meaning, Refused, Verdict
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.outcomes import UNCHANGED, settled, unreadable
from platform_relay.queue.jobs import Job

UNPAID_FOR_GOOD: Final = ("voided", "expired")
"""Orders with these statuses have used up no coupon."""
RECHECK: Final = 300.0
"""Seconds; the customer's delivery wakes the order long before."""


class ForwardOrder:
    def __init__(self, platform: PlatformClient, coupons: Coupons, customers: Customers, alerts: Alerts) -> None:
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
            return UNCHANGED
        owes = await self._rewards_used(order)
        verdict = await self._send(
            order.id, body, update_first=job.known or job.uncertain or MAYBE_DELIVERED.items() <= job.params.items()
        )
        if isinstance(verdict, Refused) and verdict.meaning is Meaning.CUSTOMER_NOT_FOUND:
            return await self._without_customer(job, order, verdict)
        if isinstance(verdict, Refused) and verdict.meaning in (Meaning.ALREADY_EXISTS, Meaning.ORDER_NOT_FOUND):
            return Retry(verdict.contradicts("order", order.id), evidence=verdict.evidence)
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

    async def _rewards_used(self, order: OrderEvent) -> tuple[JobSpec, ...]:
        """The follow-up jobs for the order's coupons of ours. Each coupon remembers the order, so that a refund and a
        second use are seen."""
        if not order.discountCodes:
            return ()
        ours = await self._coupons.find_all([discount.code for discount in order.discountCodes])
        for coupon in ours:
            seen = await self._coupons.seen_in_order(coupon.code, order.id, order.financialStatus)
            if seen is not None and (reason := over_used(seen)):
                await self._alerts.raise_alert(reason, coupon.code, again=False)
        if order.financialStatus in UNPAID_FOR_GOOD:
            return ()
        return tuple(
            JobSpec("use_reward", PLATFORM, coupon_lane(coupon.code), params={"code": coupon.code, "order": order.id})
            for coupon in ours
            if coupon.state not in ("used", "refused")
        )

    async def _without_customer(self, job: Job, order: OrderEvent, refused: Refused) -> Outcome:
        """The customer is put once for this order; that job is the memory of it, so nothing goes round in circles."""
        customer = customer_of(order)
        if customer is None:
            reason = because(ReasonCode.NO_CUSTOMER, entity="order", response=refused.reason.facts.get("response"))
            return Reject(reason, refused.evidence)
        waiting = because(ReasonCode.WAITING_FOR_CUSTOMER)  # without the lane: a guest's is an e-mail address
        lane, earlier = customer_lane(customer), await self._customers.owed_by(job.message_id)
        if earlier is None:
            put = JobSpec("forward_customer", PLATFORM, lane, params={"from": "order"}, collapse=True)
            return Wait(waiting, lane, RECHECK, (put,), refused.evidence)
        if earlier.state == "open":
            return Wait(waiting, lane, RECHECK, evidence=refused.evidence)
        if earlier.state == "failed":
            cause = None if earlier.reason is None else earlier.reason.as_fact()
            return Reject(because(ReasonCode.CUSTOMER_REJECTED, cause=cause), refused.evidence)
        reason = because(ReasonCode.CUSTOMER_STILL_UNKNOWN, **refused.reason.facts)
        return Retry(reason, None, refused.evidence)


def over_used(coupon: CouponRecord) -> Reason | None:
    """Why the coupon counts as over-used: more orders used it than may, or one used it when it was unusable. Pure."""
    used = sorted(order for order, status in (coupon.orders or {}).items() if status not in UNPAID_FOR_GOOD)
    unusable = coupon.state in ("retired", "given_back", "refused")
    limit = 0 if unusable else (coupon.ordered or {}).get("usage_limit", 1)
    if not isinstance(limit, int) or len(used) <= limit:
        return None
    facts: dict[str, JsonValue] = {"code": coupon.code, "orders": len(used), "limit": limit, "order_ids": [*used]}
    return because(ReasonCode.COUPON_OVERUSED, **facts, state=coupon.state if unusable else None)


def _is(verdict: Verdict, meaning: Meaning) -> bool:
    return isinstance(verdict, Refused) and verdict.meaning is meaning
