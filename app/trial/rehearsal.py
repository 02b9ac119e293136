"""Jobs of the trial: each is translated, valued and verified as a live one, and ends as skipped (`shadow`) with what it would
have done. Nothing is written but the job itself: no delivered version or digest, no coupon, no alert."""

import json
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog
from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.core.compute import ComputeProcess
from platform_relay.core.database import is_unavailable, single_statement
from platform_relay.core.models import Message
from platform_relay.core.outcomes import Outcome, Reject, Skip, Wait
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.coupons.records import CouponRecord
from platform_relay.coupons.spec import coupon_spec, stored_spec
from platform_relay.coupons.valuation import Valuer
from platform_relay.coupons.verification import Verifier
from platform_relay.coupons.verification_rules import Verified
from platform_relay.forwarding.prepare import (
    PreparedCustomer,
    PreparedOrder,
    PreparedProduct,
    prepare_customer,
    prepare_customer_of_order,
    prepare_order,
    prepare_product,
)
from platform_relay.forwarding.unreadable import UNREADABLE
from platform_relay.inbox.messages import SKIP_WITHOUT_CUSTOMER, JobKind
from platform_relay.platform.fields import Fields
from platform_relay.platform.redemptions import Redemption
from platform_relay.platform.webhooks import redemption_of
from platform_relay.queue.jobs import Handler, Job
from platform_relay.setting_groups import CouponSettings
from platform_relay.trial.mode import OperatingMode

log: Final = structlog.get_logger(__name__)

DATABASE_RECHECK: Final = 1.0
KEY_RECHECK: Final = 60.0
MOST_ATTEMPTS: Final = 5
"""A job of the trial that stopped its worker this often is not tried again."""
NOT_YET: Final = frozenset({ReasonCode.CONFIRMATION_PENDING, ReasonCode.CONFIRMATION_UNAVAILABLE})
"""The Platform may still confirm the redemption, as for a live one."""
CALLS: Final = {
    JobKind.FORWARD_CUSTOMER: "PUT customer",
    JobKind.FORWARD_ORDER: "POST or PATCH order",
    JobKind.FORWARD_PRODUCT: "PUT product",
    JobKind.USE_REWARD: "POST use of a reward",
    JobKind.ISSUE_COUPON: "create coupon",
    JobKind.RETIRE_COUPON: "retire coupon",
    JobKind.RETURN_POINTS: "POST points",
    JobKind.SYNC_LOYALTY: "write loyalty data",
    JobKind.FETCH_ENTITY: "read from the store",
}
"""What a live job of each kind calls."""
Prepared = PreparedCustomer | PreparedOrder | PreparedProduct


class Rehearsal:
    """`fetch` is the handler that reads an entity from the store. It is the only one that runs during the trial."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        mode: OperatingMode,
        fields: Fields,
        fetch: Handler,
        valuer: Valuer,
        verifier: Verifier,
        settings: CouponSettings,
        compute: ComputeProcess,
    ) -> None:
        self._engine = engine
        self._mode = mode
        self._fields = fields
        self._fetch = fetch
        self._valuer = valuer
        self._verifier = verifier
        self._settings = settings
        self._compute = compute

    async def __call__(self, job: Job) -> Outcome | None:
        """The outcome of a job of the trial; None for a live job, which its handler has to make."""
        try:
            if not await self._mode.is_shadow(job):
                return None
            return await self._rehearse(job)
        except Exception as error:
            if is_unavailable(error):
                return Wait(because(ReasonCode.DATABASE_UNAVAILABLE), "database", DATABASE_RECHECK)
            log.exception("rehearsal_failed", job=str(job.id), kind=job.kind, lane=job.lane)
            return not_sent(because(ReasonCode.INTERNAL_ERROR, error=type(error).__name__))

    async def _rehearse(self, job: Job) -> Outcome:
        if job.attempt > MOST_ATTEMPTS and job.uncertain:
            return not_sent(because(ReasonCode.ATTEMPTS_LOST, attempts=job.attempt - 1))
        if job.unreadable is not None:
            return Wait(job.unreadable, "settings", KEY_RECHECK)
        match job.kind:
            case JobKind.FETCH_ENTITY if (await self._mode.read()).runs:
                return await self._fetch(job)
            case JobKind.FORWARD_CUSTOMER | JobKind.FORWARD_ORDER | JobKind.FORWARD_PRODUCT:
                return await self._forward(job)
            case JobKind.ISSUE_COUPON:
                return await self._issue(job)
            case _:
                return would_call(job.kind)

    async def _forward(self, job: Job) -> Skip:
        if job.params.get(UNREADABLE) is not None:
            entity = job.kind.removeprefix("forward_")
            return not_sent(because(ReasonCode.ENTITY_UNREADABLE, destination="the store", entity=entity))
        prepare = preparation(job.kind, job.body, self._fields, from_order=job.params.get("from") == "order")
        prepared = await self._compute.run_if_large(len(job.body), prepare)
        if isinstance(prepared, Reject):
            return not_sent(prepared.reason)
        without_customer = isinstance(prepared, PreparedOrder) and prepared.customer is None
        if without_customer and SKIP_WITHOUT_CUSTOMER.items() <= job.params.items():
            return not_sent(because(ReasonCode.NO_BUYER))
        return would_call(job.kind)

    async def _issue(self, job: Job) -> Outcome:
        redemption = redemption_of(job.params.get("topic", ""), job.params.get("reward", ""), job.body, self._fields)
        if redemption is None:
            return not_sent(because(ReasonCode.NO_COUPON_CODE))
        coupon = await self._pending(job, redemption)
        valuation = await self._valuer.value(redemption, coupon)
        verified = await self._verifier.verify(job, redemption, None if isinstance(valuation, Wait) else valuation)
        if not isinstance(verified, Verified):
            patience = 2 * self._settings.confirm_within.total_seconds()
            if isinstance(verified, Wait) and verified.reason.code in NOT_YET and job.age < patience:
                return verified
            return not_sent(verified.reason, code=redemption.code)
        if isinstance(valuation, Wait):
            return not_sent(valuation.reason, code=redemption.code)
        spec = coupon_spec(redemption, valuation.value, coupon, self._settings, job, verified.email)
        if isinstance(spec, Reject):
            return not_sent(spec.reason, code=redemption.code)
        about: dict[str, JsonValue] = {"code": redemption.code, "verification": verified.level.value}
        return would_call(job.kind, **about, spec=json.dumps(stored_spec(spec)))

    async def _pending(self, job: Job, redemption: Redemption) -> CouponRecord:
        """The coupon as the relay would begin it, which is stored nowhere."""
        async with single_statement(self._engine) as connection:
            received = await connection.execute(select(Message.received_at).where(Message.id == job.message_id))
            received_at = received.scalar_one()
        return CouponRecord(
            code=redemption.code,
            state="pending",
            message_id=job.message_id,
            redemption_id=redemption.id,
            customer_ref=redemption.customer_ref,
            kind=None,
            value=None,
            currency=None,
            rule_version=None,
            rule_edited=False,
            email_changed=False,
            verification=None,
            reason=None,
            store_id=None,
            points=redemption.points,
            issued_spec=None,
            orders=None,
            decision=None,
            admitted=False,
            received_at=received_at,
            created_at=received_at,
            unchanged_for=0.0,
            age=job.age,
        )


def preparation(kind: str, body: bytes, fields: Fields, *, from_order: bool) -> Callable[[], Prepared | Reject]:
    """The function that makes the request of a stored event, as the handler of this kind of job makes it."""
    match kind:
        case JobKind.FORWARD_CUSTOMER:
            return partial(prepare_customer_of_order if from_order else prepare_customer, body, fields)
        case JobKind.FORWARD_ORDER:
            return partial(prepare_order, body, fields)
        case _:
            return partial(prepare_product, body, fields)


def would_call(kind: str, **facts: JsonValue) -> Skip:
    """The outcome of a job that a live relay would have sent."""
    return Skip(because(ReasonCode.SHADOW, call=CALLS[JobKind(kind)], **facts))


def not_sent(cause: Reason, **facts: JsonValue) -> Skip:
    """The outcome of a job that a live relay would not have sent either."""
    return Skip(because(ReasonCode.SHADOW, cause=cause.as_fact(), **facts))
