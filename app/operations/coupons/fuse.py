"""The fuse: how many coupons, and of what value, may be issued per customer, per hour and per day.

Above a limit it blows: the coupon is held, and so are all that follow (of this customer, or of everybody), until a
person has looked and released it. Counting then starts anew.
"""

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import advisory_lock
from app.engine.operator import audit
from app.operations.alerts.raised import resolve_alert
from app.settings import FuseSettings

KIND: Final = "coupon_fuse"
"""The alerts of blown fuses; one that is released and blows again is another alert."""
ALL: Final = ""
WAITS_FOR: Final = "coupon-fuse"
"""What held coupons wait for (`Wait.key`)."""

_LOCK: Final = advisory_lock("'coupon-fuse'")
_STATE: Final = text("""
SELECT key, reason, released_at, tripped_at IS NOT NULL AND (released_at IS NULL OR tripped_at > released_at) AS blown
FROM coupon_fuse WHERE key IN ('', :key)
""")
_USAGE: Final = text("""
WITH released AS (
    SELECT coalesce(max(released_at) FILTER (WHERE key = ''), '-infinity') AS everybody,
           coalesce(max(released_at), '-infinity') AS person
    FROM coupon_fuse WHERE key IN ('', :key)
),
recent AS (
    SELECT customer_ref, priced_at, CASE WHEN kind IN ('fixed_amount', 'gift_card') THEN value ELSE 0 END AS value
    FROM coupon WHERE priced_at > now() - interval '24 hours' AND code <> :code
)
SELECT count(*) FILTER (WHERE customer_ref = :key AND priced_at > released.person) AS customer_count,
       coalesce(sum(value) FILTER (WHERE customer_ref = :key AND priced_at > released.person), 0) AS customer_value,
       count(*) FILTER (WHERE priced_at > now() - interval '1 hour' AND priced_at > released.everybody) AS hour_count,
       coalesce(sum(value) FILTER (WHERE priced_at > now() - interval '1 hour' AND priced_at > released.everybody), 0)
           AS hour_value,
       count(*) FILTER (WHERE priced_at > released.everybody) AS day_count,
       coalesce(sum(value) FILTER (WHERE priced_at > released.everybody), 0) AS day_value
FROM recent CROSS JOIN released
""")
_TRIP: Final = text("""
INSERT INTO coupon_fuse (key, tripped_at, reason) VALUES (:key, now(), :reason)
ON CONFLICT (key) DO UPDATE SET tripped_at = excluded.tripped_at, reason = excluded.reason
""")
_RELEASE: Final = text("""
UPDATE coupon_fuse SET released_at = clock_timestamp(), released_by = :by
WHERE (CAST(:key AS text) IS NULL OR key = :key) AND tripped_at IS NOT NULL
  AND (released_at IS NULL OR tripped_at > released_at)
RETURNING key
""")


@dataclass(frozen=True, slots=True)
class Usage:
    """What was issued since the last release: counts, and sums of the fixed amounts in the shop's currency."""

    customer_count: int
    customer_value: Decimal
    hour_count: int
    hour_value: Decimal
    day_count: int
    day_value: Decimal


@dataclass(frozen=True, slots=True)
class Blown:
    """`subject` names the fuse without naming a person."""

    reason: str
    subject: str


def over(usage: Usage, value: Decimal, limits: FuseSettings) -> tuple[bool, str] | None:
    """Whether one more coupon of `value` is over a limit: whether it is the customer's alone, and in words. Pure."""
    checks = (
        (True, "coupons of this customer in 24 hours", usage.customer_count + 1, limits.customer_count),
        (True, "in value for this customer in 24 hours", usage.customer_value + value, limits.customer_value),
        (False, "coupons in one hour", usage.hour_count + 1, limits.hour_count),
        (False, "in value in one hour", usage.hour_value + value, limits.hour_value),
        (False, "coupons in 24 hours", usage.day_count + 1, limits.day_count),
        (False, "in value in 24 hours", usage.day_value + value, limits.day_value),
    )
    for personal, what, asked, limit in checks:
        if limit is not None and asked > limit:
            return personal, f"the fuse blew: this would be {asked} {what}, {limit} are allowed (COUPONS__FUSE)"
    return None


async def pass_fuse(
    connection: AsyncConnection, code: str, customer: str | None, value: Decimal, limits: FuseSettings
) -> Blown | None:
    """None when the coupon may be issued. Holds the fuse's lock until the end of the caller's transaction, in which
    `priced_at` has to be written: so no two replicas count the same."""
    await connection.execute(_LOCK)
    key = customer or ALL
    for row in await connection.execute(_STATE, {"key": key}):
        if row.blown:
            return Blown(row.reason, subject_of(row.key))
    usage = Usage(**(await connection.execute(_USAGE, {"key": key, "code": code})).mappings().one())
    found = over(usage, value, limits)
    if found is None or (found[0] and customer is None):
        return None
    personal, reason = found
    blown = key if personal else ALL
    await connection.execute(_TRIP, {"key": blown, "reason": reason})
    return Blown(reason, subject_of(blown))


async def release(connection: AsyncConnection, by: str, why: str, customer: str | None = None) -> int:
    """Release one customer's fuse, or every one that has blown; how many. What waits has to be woken (WAITS_FOR)."""
    await connection.execute(_LOCK)
    keys = (await connection.execute(_RELEASE, {"key": customer, "by": by})).scalars().all()
    if keys:
        for key in keys:
            await resolve_alert(connection, KIND, subject_of(key))
        subjects = [_audited(key) for key in sorted(keys)]
        await audit(connection, by, "coupon_fuse.release", ", ".join(subjects), {"why": why})
    return len(keys)


def subject_of(key: str) -> str:
    """The fuse's name in alerts: an e-mail address is never shown."""
    if key == ALL:
        return "all coupons"
    return f"guest {hashlib.sha256(key.encode()).hexdigest()[:8]}" if "@" in key else f"customer {key}"


def _audited(key: str) -> str:
    """For the audit, which is never rewritten: no person's id, should the person be erased."""
    return "all coupons" if key == ALL else f"customer {hashlib.sha256(key.encode()).hexdigest()[:8]}"
