"""What an operator can do about coupons: approve, set the value, retire, return the points, dismiss alerts, release limits.

Each action is one transaction that writes to the audit and enqueues the jobs that carry it out. The API, the console and
the CLI only call these methods.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from decimal import Decimal
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.alerts.alerts import dismiss_alerts
from platform_relay.audit.record import audit
from platform_relay.core.currencies import currency_places
from platform_relay.core.outcomes import JobSpec
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons import issuance_limits
from platform_relay.coupons.records import CouponRecord, Decision, read_coupon
from platform_relay.coupons.transitions import mark_points_returned
from platform_relay.inbox.messages import PLATFORM, STORE, JobKind, redemption_claim_lane
from platform_relay.jobs.actions import OperatorActions
from platform_relay.platform.rules import AMOUNTS, NEEDS_VALUE, RewardKind
from platform_relay.queue.queue import NewJob, enqueue
from platform_relay.setting_groups import CouponSettings

_DECIDE: Final = text("UPDATE coupon SET decision = CAST(:decision AS jsonb) WHERE code = :code")
_LOCK: Final = text("SELECT code FROM coupon WHERE code = :code FOR UPDATE")
_ISSUE_JOBS: Final = text("""
SELECT id, dead, open, params FROM job
WHERE message_id = :message AND destination = 'store' AND lane = :lane AND kind = 'issue_coupon' ORDER BY seq DESC
""")
_RETURN_JOB: Final = text("""
SELECT dead FROM job WHERE message_id = :message AND lane = :lane AND kind = 'return_points' ORDER BY seq DESC LIMIT 1
""")
_WAITS_FOR: Final = text(
    "SELECT waits_for FROM lane WHERE key = :lane AND destination = 'store' AND waits_for IS NOT NULL"
)


class NoSuchCouponError(ValueError):
    """No coupon has the code."""


class ActionNotPossibleError(ValueError):
    """The coupon's state or the given value does not allow the action. The text gives the reason and what to do instead."""


class CouponActions:
    """All methods raise NoSuchCouponError and ActionNotPossibleError."""

    def __init__(self, engine: AsyncEngine, actions: OperatorActions, settings: CouponSettings) -> None:
        self._engine = engine
        self._actions = actions
        self._settings = settings

    async def approve(self, code: str, by: str, why: str) -> CouponRecord:
        """Issue a held or refused coupon without verification and without issuance limits."""
        async with self._engine.begin() as connection:
            coupon = await _held(connection, code, "approved")
            await _decide(connection, coupon, Decision(by, why, approve=True), "coupon.approve")
        return await self._continue(coupon, by)

    async def set_value(
        self, code: str, kind: RewardKind | None, value: Decimal | None, by: str, why: str
    ) -> CouponRecord:
        """Issue a held coupon with this value, without verification and without issuance limits.

        `kind` None: the kind that is already known. `value` is an amount in the store's currency, or a percentage.
        """
        async with self._engine.begin() as connection:
            coupon = await _held(connection, code, "given another value")
            kind = _valid_kind(coupon, kind, value, self._settings)
            decision = Decision(by, why, approve=True, kind=kind.value, value=value)
            detail = {"kind": kind.value, "value": None if value is None else f"{value:f}"}
            await _decide(connection, coupon, decision, "coupon.set_value", detail)
        return await self._continue(coupon, by)

    async def retire(self, code: str, by: str, why: str) -> CouponRecord:
        """Make a coupon unusable in the store, or never issue it. Then its points can be returned."""
        async with self._engine.begin() as connection:
            coupon = await _locked(connection, code)
            if coupon.state not in ("pending", "held", "refused", "active"):
                raise ActionNotPossibleError(
                    f"the coupon is {coupon.state}; only pending, held, refused and active ones can be retired"
                )
            if coupon.decision is not None and coupon.decision.retire:
                raise ActionNotPossibleError("the coupon is already being retired; read it again in a moment")
            job = JobSpec(JobKind.RETIRE_COUPON, STORE, _lane(coupon), params={"code": code, "by": by, "why": why})
            await enqueue(connection, [NewJob(coupon.message_id, job)])
            await _decide(connection, coupon, Decision(by, why, retire=True), "coupon.retire")
        await self._wake(coupon)
        return await self._read(code)

    async def return_points(
        self, code: str, by: str, why: str, points: int | None = None, *, again: bool = False, arrived: bool = False
    ) -> CouponRecord:
        """Return the points of a retired coupon to the customer, once.

        If it is unknown whether an earlier attempt arrived, the operator looks at the Platform first. `again`: the points
        are missing, send them again. `arrived`: the points are there, only record it.
        """
        async with self._engine.begin() as connection:
            coupon = await _locked(connection, code)
            points = points or coupon.points
            if coupon.state == "points_returned":
                raise ActionNotPossibleError("the points were already returned")
            if coupon.state != "retired" or coupon.decision is None:
                raise ActionNotPossibleError(
                    f"the coupon is {coupon.state}; retire it first, so that the customer does not have both"
                )
            if points is None or coupon.customer_ref is None:
                raise ActionNotPossibleError("no points were redeemed for it, or the webhook named no customer")
            lane = f"points:{code}"
            await self._check_earlier_return(connection, coupon, lane, again=again, arrived=arrived)
            decision = replace(coupon.decision, return_points=True)
            detail = {"points": points, "again": again, "arrived": arrived}
            await _decide(connection, coupon, decision, "coupon.return_points", detail, by, why)
            if arrived:
                reason = because(ReasonCode.POINTS_RETURNED, points=points, by=by, comment=why)
                await mark_points_returned(connection, code, by, reason)
            else:
                job = JobSpec(JobKind.RETURN_POINTS, PLATFORM, lane, params={"code": code, "points": str(points)})
                await enqueue(connection, [NewJob(coupon.message_id, job)])
        return await self._read(code)

    async def dismiss(self, code: str, by: str, why: str) -> int:
        """End the alerts about the coupon that only an operator ends; returns how many there were."""
        async with self._engine.begin() as connection:
            alerts = await dismiss_alerts(connection, code)
            if alerts:
                await audit(connection, by, "coupon.dismiss", code, {"alerts": alerts, "why": why})
        return len(alerts)

    async def release_limit(self, by: str, why: str, customer: str | None = None) -> tuple[int, int]:
        """Release issuance limits; returns how many, and how many held coupons continue."""
        async with self._engine.begin() as connection:
            released = await issuance_limits.release(connection, by, why, customer)
        return released, await self._actions.wake([issuance_limits.WAIT_KEY])

    @staticmethod
    async def _check_earlier_return(
        connection: AsyncConnection, coupon: CouponRecord, lane: str, *, again: bool, arrived: bool
    ) -> None:
        if again and arrived:
            raise ActionNotPossibleError("the points are either missing (`again`) or there (`arrived`), not both")
        if coupon.decision is None or not coupon.decision.return_points:
            if arrived:
                raise ActionNotPossibleError("the points were never sent, so they cannot have arrived")
            return
        earlier = (await connection.execute(_RETURN_JOB, {"message": coupon.message_id, "lane": lane})).one_or_none()
        if earlier is None or not earlier.dead:
            raise ActionNotPossibleError("the points are already being returned")
        if not (again or arrived):
            raise ActionNotPossibleError(
                "it is unknown whether an earlier attempt arrived: look at the customer's points at the Platform. If they"
                " are missing, repeat this with `again`; if they are there, with `arrived`"
            )

    async def _continue(self, coupon: CouponRecord, by: str) -> CouponRecord:
        """Run the coupon's job again, whatever its state is."""
        lane = _lane(coupon)
        async with self._engine.begin() as connection:
            jobs = (await connection.execute(_ISSUE_JOBS, {"message": coupon.message_id, "lane": lane})).all()
            if jobs and not any(job.open or job.dead for job in jobs):
                job = JobSpec(JobKind.ISSUE_COUPON, STORE, lane, params=jobs[0].params)
                await enqueue(connection, [NewJob(coupon.message_id, job)])
        if not any(job.open for job in jobs):
            await self._actions.retry([job.id for job in jobs[:1] if job.dead], by)
        await self._wake(coupon)
        return await self._read(coupon.code)

    async def _wake(self, coupon: CouponRecord) -> None:
        async with self._engine.connect() as connection:
            keys: Sequence[str] = (await connection.execute(_WAITS_FOR, {"lane": _lane(coupon)})).scalars().all()
        await self._actions.wake(keys)

    async def _read(self, code: str) -> CouponRecord:
        async with self._engine.connect() as connection:
            return await _existing(connection, code)


def _lane(coupon: CouponRecord) -> str:
    """The lane of the coupon's own message. All calls to the store about a code run there, one after another."""
    return redemption_claim_lane(coupon.code, str(coupon.message_id))


async def _existing(connection: AsyncConnection, code: str) -> CouponRecord:
    coupon = await read_coupon(connection, code)
    if coupon is None:
        raise NoSuchCouponError(f"no coupon has the code {code}")
    return coupon


async def _locked(connection: AsyncConnection, code: str) -> CouponRecord:
    await connection.execute(_LOCK, {"code": code})
    return await _existing(connection, code)


async def _held(connection: AsyncConnection, code: str, action: str) -> CouponRecord:
    coupon = await _locked(connection, code)
    if coupon.state not in ("held", "refused", "pending"):
        raise ActionNotPossibleError(
            f"the coupon is {coupon.state}; only pending, held and refused ones can be {action}"
        )
    if coupon.decision is not None and coupon.decision.retire:
        raise ActionNotPossibleError("the coupon is being retired; it can no longer be issued")
    return coupon


async def _decide(
    connection: AsyncConnection,
    coupon: CouponRecord,
    decision: Decision,
    action: str,
    detail: Mapping[str, object] | None = None,
    by: str | None = None,
    why: str | None = None,
) -> None:
    """Store the decision and write the audit. `by` and `why`: where they are not those of the decision."""
    columns = {name: str(value) if isinstance(value, Decimal) else value for name, value in asdict(decision).items()}
    await connection.execute(_DECIDE, {"code": coupon.code, "decision": json.dumps(columns)})
    await audit(connection, by or decision.by, action, coupon.code, {**(detail or {}), "why": why or decision.why})


def _valid_kind(
    coupon: CouponRecord, kind: RewardKind | None, value: Decimal | None, settings: CouponSettings
) -> RewardKind:
    """The kind of the coupon. Raises ActionNotPossibleError for a value that cannot be issued."""
    kind = kind or (RewardKind(coupon.kind) if coupon.kind else None)
    if kind is None:
        raise ActionNotPossibleError("the kind of the coupon is unknown; give its kind too")
    if kind is RewardKind.FREE_PRODUCT:
        raise ActionNotPossibleError(
            "a rule names the free product; store a rule with PUT /v1/reward-rules/{rule} instead"
        )
    if kind not in NEEDS_VALUE:
        if value is not None:
            raise ActionNotPossibleError(f"a {kind} coupon has no value")
        return kind
    if value is None or value <= 0:
        raise ActionNotPossibleError(f"a {kind} coupon needs a value above 0")
    if kind is RewardKind.PERCENTAGE and value > 100:
        raise ActionNotPossibleError("a percentage is at most 100")
    if kind in AMOUNTS:
        if value > settings.max_value:
            raise ActionNotPossibleError(f"{value} is over the limit of {settings.max_value} (COUPONS__MAX_VALUE)")
        places = currency_places(coupon.currency or settings.currency)
        if value != round(value, places):
            raise ActionNotPossibleError(f"{value} has more than the {places} decimal places of its currency")
    return kind
