"""What a person may do about a coupon: approve it, say its value, retire it, give the points back, release the issuance_limits,
dismiss an alert.

Each act is one transaction with its line of the audit, and owes the jobs that carry it out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from platform_relay.alerts.alerts import dismiss_alerts
from platform_relay.core.currencies import currency_places
from platform_relay.core.outcomes import JobSpec
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons import issuance_limits
from platform_relay.coupons.transitions import CouponRecord, Decision, coupon_of, given_back
from platform_relay.inbox.messages import PLATFORM, STORE, redemption_claim_lane
from platform_relay.jobs.actions import Operator, audit
from platform_relay.platform.rules import AMOUNTS, NEEDS_VALUE, RewardKind
from platform_relay.queue.queue import NewJob, enqueue_parameters
from platform_relay.queue.statements import ENQUEUE_COLUMNS, TAKE_ON
from platform_relay.settings import CouponSettings

_OWE: Final = text(f"WITH owed AS (SELECT * FROM unnest({ENQUEUE_COLUMNS}), {TAKE_ON} SELECT count(*) FROM taken")  # noqa: S608  # constants only
_RULE: Final = text("UPDATE coupon SET decision = CAST(:decision AS jsonb) WHERE code = :code")
_LOCK: Final = text("SELECT code FROM coupon WHERE code = :code FOR UPDATE")
_ISSUES: Final = text("""
SELECT id, dead, open, params FROM job
WHERE message_id = :message AND destination = 'store' AND lane = :lane AND kind = 'issue_coupon' ORDER BY seq DESC
""")
_AWARDS: Final = text("""
SELECT open, dead FROM job WHERE message_id = :message AND lane = :lane AND kind = 'return_points' ORDER BY seq DESC LIMIT 1
""")
_WAITS_FOR: Final = text(
    "SELECT waits_for FROM lane WHERE key = :lane AND destination = 'store' AND waits_for IS NOT NULL"
)


class NoSuchCouponError(ValueError):
    """No coupon has the code."""


class ImpossibleError(ValueError):
    """Not in the coupon's present state; the text says why and what to do instead."""


@dataclass(frozen=True, slots=True)
class Correction:
    """`kind` None: as it is known already. `value` is an amount in the store's currency, or per cent."""

    kind: RewardKind | None
    value: Decimal | None


class CouponActions:
    """All methods raise NoSuchCouponError and ImpossibleError."""

    def __init__(self, engine: AsyncEngine, operator: Operator, settings: CouponSettings) -> None:
        self._engine = engine
        self._operator = operator
        self._settings = settings

    async def approve(self, code: str, by: str, why: str) -> CouponRecord:
        """A held coupon is made without further proof, past the issuance_limits."""
        async with self._engine.begin() as connection:
            coupon = await _held(connection, code, "approved")
            await _rule(connection, coupon, Decision(by, why, approve=True), "coupon.approve", {})
        return await self._go_on(coupon, by)

    async def correct(self, code: str, correction: Correction, by: str, why: str) -> CouponRecord:
        """A held coupon is made with this value, without further proof, past the issuance_limits."""
        async with self._engine.begin() as connection:
            coupon = await _held(connection, code, "given another value")
            kind = _valid(coupon, correction, self._settings)
            value = None if correction.value is None else f"{correction.value:f}"
            decision = Decision(by, why, approve=True, kind=kind.value, value=correction.value)
            told = {"kind": kind.value, "value": value}
            await _rule(connection, coupon, decision, "coupon.value", told)
        return await self._go_on(coupon, by)

    async def retire(self, code: str, by: str, why: str) -> CouponRecord:
        """The coupon is made unusable in the store, or never made. Once it is retired the points can be given back."""
        async with self._engine.begin() as connection:
            coupon = await _locked(connection, code)
            if coupon.state not in ("pending", "held", "active"):
                raise ImpossibleError(
                    f"the coupon is {coupon.state}; only pending, held and active ones can be retired"
                )
            if coupon.decision is not None and coupon.decision.retire:
                raise ImpossibleError("the coupon is being retired already; read it again in a moment")
            owed = JobSpec("retire_coupon", STORE, _lane(coupon), params={"code": code, "by": by, "why": why})
            await _owe(connection, coupon.message_id, owed)
            await _rule(connection, coupon, Decision(by, why, retire=True), "coupon.retire", {})
        await self._wake(coupon)
        return await self._read(code)

    async def return_points(
        self, code: str, by: str, why: str, points: int | None = None, *, again: bool = False, arrived: bool = False
    ) -> CouponRecord:
        """The points of a retired coupon are given back, once. An earlier try ended in doubt, and a person has looked at
        the Platform: `again`, the points are not there and are sent again; `arrived`, they are there and count from now."""
        async with self._engine.begin() as connection:
            coupon = await _locked(connection, code)
            points = points or coupon.points
            if coupon.state == "given_back":
                raise ImpossibleError("the points were given back already")
            if coupon.state != "retired" or coupon.decision is None:
                raise ImpossibleError(f"the coupon is {coupon.state}; retire it first, so that nobody has both")
            if points is None or coupon.customer_ref is None:
                raise ImpossibleError("no points were spent on it, or the webhook named no customer")
            lane = f"points:{code}"
            await self._once(connection, coupon, lane, again=again, arrived=arrived)
            told = {"points": points, "again": again, "arrived": arrived}
            await _rule(
                connection, coupon, replace(coupon.decision, give_back=True), "coupon.return_points", told, by, why
            )
            if arrived:
                reason = because(ReasonCode.POINTS_RETURNED, points=points, by=by, comment=why)
                await given_back(connection, code, by, reason)
            else:
                owed = JobSpec("return_points", PLATFORM, lane, params={"code": code, "points": str(points)})
                await _owe(connection, coupon.message_id, owed)
        return await self._read(code)

    async def dismiss(self, code: str, by: str, why: str) -> int:
        """How many alerts about the coupon were ended here, of those that nothing else ends."""
        async with self._engine.begin() as connection:
            codes = await dismiss_alerts(connection, code)
            if codes:
                await audit(connection, by, "coupon.dismiss", code, {"alerts": codes, "why": why})
        return len(codes)

    async def release_limit(self, by: str, why: str, customer: str | None = None) -> tuple[int, int]:
        """How many fuses were released, and how many coupons go on."""
        async with self._engine.begin() as connection:
            released = await issuance_limits.release(connection, by, why, customer)
        return released, await self._operator.wake([issuance_limits.WAITS_FOR])

    @staticmethod
    async def _once(
        connection: AsyncConnection, coupon: CouponRecord, lane: str, *, again: bool, arrived: bool
    ) -> None:
        if again and arrived:
            raise ImpossibleError("the points are missing (`again`) or there (`arrived`), not both")
        if coupon.decision is None or not coupon.decision.give_back:
            if arrived:
                raise ImpossibleError("nobody has tried to give the points back, so they cannot have arrived")
            return
        last = (await connection.execute(_AWARDS, {"message": coupon.message_id, "lane": lane})).one_or_none()
        if last is None or not last.dead:
            raise ImpossibleError("the points are on their way already")
        if not (again or arrived):
            why = "an earlier try ended in doubt: look at the customer's points at the Platform; only if they are not"
            raise ImpossibleError(f"{why} there, ask for it with `again`; if they are, with `arrived`")

    async def _go_on(self, coupon: CouponRecord, by: str) -> CouponRecord:
        """The coupon's job runs again, whatever became of it."""
        lane = _lane(coupon)
        at = {"message": coupon.message_id, "lane": lane}
        async with self._engine.begin() as connection:
            jobs = (await connection.execute(_ISSUES, at)).all()
            if jobs and not any(job.open or job.dead for job in jobs):
                await _owe(connection, coupon.message_id, JobSpec("issue_coupon", STORE, lane, params=jobs[0].params))
        if not any(job.open for job in jobs):
            await self._operator.retry([job.id for job in jobs[:1] if job.dead], by)
        await self._wake(coupon)
        return await self._read(coupon.code)

    async def _wake(self, coupon: CouponRecord) -> None:
        async with self._engine.connect() as connection:
            keys: Sequence[str] = (await connection.execute(_WAITS_FOR, {"lane": _lane(coupon)})).scalars().all()
        await self._operator.wake(keys)

    async def _read(self, code: str) -> CouponRecord:
        async with self._engine.connect() as connection:
            return await _found(connection, code)


def _lane(coupon: CouponRecord) -> str:
    """Where the coupon's own message is dealt with: whoever calls the store about a code does it there, in turn."""
    return redemption_claim_lane(coupon.code, str(coupon.message_id))


async def _found(connection: AsyncConnection, code: str) -> CouponRecord:
    coupon = await coupon_of(connection, code)
    if coupon is None:
        raise NoSuchCouponError(f"no coupon has the code {code}")
    return coupon


async def _locked(connection: AsyncConnection, code: str) -> CouponRecord:
    await connection.execute(_LOCK, {"code": code})
    return await _found(connection, code)


async def _held(connection: AsyncConnection, code: str, what: str) -> CouponRecord:
    coupon = await _locked(connection, code)
    if coupon.state not in ("held", "pending"):
        raise ImpossibleError(f"the coupon is {coupon.state}; only held ones can be {what}")
    if coupon.decision is not None and coupon.decision.retire:
        raise ImpossibleError("the coupon is being retired; it cannot be made any more")
    return coupon


async def _rule(
    connection: AsyncConnection,
    coupon: CouponRecord,
    decision: Decision,
    action: str,
    told: Mapping[str, object],
    by: str | None = None,
    why: str | None = None,
) -> None:
    written = {name: str(value) if isinstance(value, Decimal) else value for name, value in asdict(decision).items()}
    await connection.execute(_RULE, {"code": coupon.code, "decision": json.dumps(written)})
    await audit(connection, by or decision.by, action, coupon.code, {**told, "why": why or decision.why})


async def _owe(connection: AsyncConnection, message_id: UUID, owed: JobSpec) -> None:
    await connection.execute(_OWE, enqueue_parameters([NewJob(message_id, owed)]))


def _valid(coupon: CouponRecord, correction: Correction, settings: CouponSettings) -> RewardKind:
    """The kind of the corrected coupon. Raises ImpossibleError for a value that could not be issued."""
    kind, value = correction.kind or (RewardKind(coupon.kind) if coupon.kind else None), correction.value
    if kind is None:
        raise ImpossibleError("no value was ever known for it, so say its kind too")
    if kind is RewardKind.FREE_PRODUCT:
        raise ImpossibleError("a free product is named by its rule: put one with PUT /v1/reward-rules/{rule}")
    if kind not in NEEDS_VALUE:
        if value is not None:
            raise ImpossibleError(f"a {kind} coupon has no value")
        return kind
    if value is None or value <= 0:
        raise ImpossibleError(f"a {kind} coupon needs a value above 0")
    if kind is RewardKind.PERCENTAGE and value > 100:
        raise ImpossibleError("a percentage is at most 100")
    if kind in AMOUNTS:
        if value > settings.max_value:
            raise ImpossibleError(f"{value} is over the limit of {settings.max_value} (COUPONS__MAX_VALUE)")
        places = currency_places(coupon.currency or settings.currency)
        if value != round(value, places):
            raise ImpossibleError(f"{value} has more than the {places} decimal places of its currency")
    return kind
