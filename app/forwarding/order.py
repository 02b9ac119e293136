"""Forwards an order: POST /v1/orders the first time, PATCH /v1/orders/{id} afterwards.

The response to a second POST is not documented, so no second POST is sent before a PATCH got "Order not found":

    never sent                   POST;  "already exists" → PATCH
    sent, or possibly arrived    PATCH; "Order not found" → POST
    sent by another connector    the same, after a trial (`trial.mode`)
    sent before a failover       the same, if its record may be missing (`jobs.failover`); no POST while a call of that time
                                 may still arrive
    "Customer not found"         the customer is sent first, in its own lane, and the order waits for it
    the store's own order, never sent, names no customer and no e-mail address    skipped: nothing is sent
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

from pydantic import JsonValue

from platform_relay.alerts.alerts import Alerts
from platform_relay.core.compute import ComputeProcess
from platform_relay.core.outcomes import JobSpec, Outcome, Reject, Retry, Skip, Wait
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.coupons.records import UNUSABLE, CouponRecord
from platform_relay.coupons.transitions import Coupons
from platform_relay.forwarding.prepare import PreparedOrder, prepare_order
from platform_relay.inbox.messages import (
    MAYBE_DELIVERED,
    PLATFORM,
    SKIP_WITHOUT_CUSTOMER,
    JobKind,
    coupon_lane,
    customer_lane,
)
from platform_relay.inbox.stored_customers import Customers
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.outcomes import UNCHANGED, outcome_of
from platform_relay.platform.responses import PlatformResponse, Rejected, RejectionKind
from platform_relay.queue.jobs import Job

UNPAID: Final = ("voided", "expired")
"""Orders with these statuses will never be paid, so they have not used a coupon."""
RECHECK: Final = 300.0
"""Seconds. Normally the customer's delivery wakes the order earlier."""
FAILOVER: Final = "failover"
"""What an order waits for after a failover. Only time ends it."""


class ForwardOrder:
    """`sent_by_another`: whether another connector, or this relay before a failover, may have sent an order that was created
    then (None: not known). `may_still_arrive`: for how many seconds a call that was begun before a failover may still arrive."""

    def __init__(
        self,
        platform: PlatformClient,
        coupons: Coupons,
        customers: Customers,
        alerts: Alerts,
        compute: ComputeProcess,
        sent_by_another: Callable[[datetime | None], bool] = lambda _: False,
        may_still_arrive: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._sent_by_another = sent_by_another
        self._may_still_arrive = may_still_arrive
        self._platform = platform
        self._coupons = coupons
        self._customers = customers
        self._alerts = alerts
        self._compute = compute

    async def __call__(self, job: Job) -> Outcome:
        prepare = partial(prepare_order, job.body, self._platform.fields)
        order = await self._compute.run_if_large(len(job.body), prepare)
        if isinstance(order, Reject):
            return order
        if job.exists_remotely and job.delivered_digest == order.digest:
            return UNCHANGED
        follow_ups = await self._coupons_used(order, job.depends_on)
        update_first = job.exists_remotely or job.uncertain or MAYBE_DELIVERED.items() <= job.params.items()
        if (
            order.customer is None
            and SKIP_WITHOUT_CUSTOMER.items() <= job.params.items()
            and not update_first
            and not follow_ups
        ):
            return Skip(because(ReasonCode.NO_BUYER))
        sent_by_another = self._sent_by_another(order.created_at)
        wait = self._may_still_arrive() if sent_by_another else 0.0
        response = await self._send(order, update_first=update_first or sent_by_another, create=not wait)
        if isinstance(response, Rejected) and (outcome := await self._rejected(job, order, response, wait)) is not None:
            return outcome
        return outcome_of(response, order.digest, follow_ups)

    async def _rejected(self, job: Job, order: PreparedOrder, response: Rejected, wait: float) -> Outcome | None:
        """What follows from a rejection of an order; None if it is no special one."""
        match response.kind:
            case RejectionKind.CUSTOMER_NOT_FOUND:
                return await self._without_customer(job, order, response)
            case RejectionKind.ORDER_NOT_FOUND if wait:
                return Wait(because(ReasonCode.EARLIER_CALL_MAY_ARRIVE), FAILOVER, wait, evidence=response.evidence)
            case RejectionKind.ALREADY_EXISTS | RejectionKind.ORDER_NOT_FOUND:
                return Retry(response.contradicts("order", order.id), evidence=response.evidence)
            case _:
                return None

    async def _send(self, order: PreparedOrder, *, update_first: bool, create: bool) -> PlatformResponse:
        """`create`: whether an order that is not there, after `update_first`, may be created."""
        post = partial(self._platform.create_order, order.create)
        patch = partial(self._platform.update_order, order.id, order.update)
        first, second = (patch, post) if update_first else (post, patch)
        other_way = RejectionKind.ORDER_NOT_FOUND if update_first else RejectionKind.ALREADY_EXISTS
        response = await first()
        if create and isinstance(response, Rejected) and response.kind is other_way:
            response = await second()
        return response

    async def _coupons_used(self, order: PreparedOrder, owner: str | None) -> tuple[JobSpec, ...]:
        """The follow-up jobs for the relay's coupons in the order. Each coupon records the order, so that a refund and a
        second use are noticed."""
        coupons = await self._coupons.find_all(order.codes)
        for coupon in coupons:
            noted = await self._coupons.note_order(coupon.code, order.id, order.financial_status)
            if noted is not None and (reason := over_used(noted)):
                await self._alerts.raise_alert(reason, coupon.code, again=False)
        if order.financial_status in UNPAID:
            return ()
        return tuple(
            JobSpec(
                JobKind.USE_REWARD,
                PLATFORM,
                coupon_lane(coupon.code),
                params={"code": coupon.code, "order": order.id},
                owner=owner,
            )
            for coupon in coupons
            if coupon.state not in ("used", "refused")
        )

    async def _without_customer(self, job: Job, order: PreparedOrder, rejected: Rejected) -> Outcome:
        """Send the customer first, once per order. The stored job shows that it was sent, so there is no endless loop."""
        if order.customer is None:
            response = rejected.reason.facts.get("response")
            return Reject(because(ReasonCode.NO_CUSTOMER, entity="order", response=response), rejected.evidence)
        waiting = because(ReasonCode.WAITING_FOR_CUSTOMER)  # without the lane: a guest's is an e-mail address
        lane, earlier = customer_lane(order.customer), await self._customers.delivery_for(job.message_id)
        if earlier is None:
            put = JobSpec(JobKind.FORWARD_CUSTOMER, PLATFORM, lane, params={"from": "order"}, collapse=True)
            return Wait(waiting, lane, RECHECK, (put,), rejected.evidence, for_lane=True)
        if earlier.state == "open":
            return Wait(waiting, lane, RECHECK, evidence=rejected.evidence, for_lane=True)
        if earlier.state == "failed":
            cause = None if earlier.reason is None else earlier.reason.as_fact()
            return Reject(because(ReasonCode.CUSTOMER_REJECTED, cause=cause), rejected.evidence)
        return Retry(because(ReasonCode.CUSTOMER_STILL_UNKNOWN, **rejected.reason.facts), None, rejected.evidence)


def over_used(coupon: CouponRecord) -> Reason | None:
    """Why the coupon is over-used: more orders used it than allowed, or one used it when it was unusable. Pure."""
    if coupon.state == "refused":
        return None  # the relay issued nothing under this code
    used = sorted(order for order, status in (coupon.orders or {}).items() if status not in UNPAID)
    unusable = coupon.state in UNUSABLE
    limit = 0 if unusable else (coupon.issued_spec or {}).get("usage_limit", 1)
    if not isinstance(limit, int) or len(used) <= limit:
        return None
    facts: dict[str, JsonValue] = {"code": coupon.code, "orders": len(used), "limit": limit, "order_ids": [*used]}
    return because(ReasonCode.COUPON_OVERUSED, **facts, state=coupon.state if unusable else None)
