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

from platform_relay.alerts.alerts import resolve_alert
from platform_relay.core.database import advisory_lock
from platform_relay.core.reasons import Reason, ReasonCode, because, columns, stored
from platform_relay.jobs.actions import audit
from platform_relay.settings import IssuanceLimitSettings

LIMIT_REACHED: Final = ReasonCode.ISSUANCE_LIMIT_REACHED
"""The reason of held coupons, and the alert; a limit that is released and reached again is another alert."""
ALL: Final = ""
WAITS_FOR: Final = "issuance-limit"
"""What held coupons wait for (`Wait.key`)."""

_LOCK: Final = advisory_lock("'issuance-limit'")
_STATE: Final = text("""
SELECT key, facts, released_at, tripped_at IS NOT NULL AND (released_at IS NULL OR tripped_at > released_at) AS blown
FROM issuance_limit WHERE key IN ('', :key)
""")
_USAGE: Final = text("""
WITH released AS (
    SELECT coalesce(max(released_at) FILTER (WHERE key = ''), '-infinity') AS everybody,
           coalesce(max(released_at), '-infinity') AS person
    FROM issuance_limit WHERE key IN ('', :key)
),
recent AS (
    SELECT customer_ref, admitted_at, CASE WHEN kind IN ('fixed_amount', 'gift_card') THEN value ELSE 0 END AS value
    FROM coupon WHERE admitted_at > now() - interval '24 hours' AND code <> :code
)
SELECT count(*) FILTER (WHERE customer_ref = :key AND admitted_at > released.person) AS customer_count,
       coalesce(sum(value) FILTER (WHERE customer_ref = :key AND admitted_at > released.person), 0) AS customer_value,
       count(*) FILTER (WHERE admitted_at > now() - interval '1 hour' AND admitted_at > released.everybody) AS hour_count,
       coalesce(sum(value) FILTER (WHERE admitted_at > now() - interval '1 hour' AND admitted_at > released.everybody), 0)
           AS hour_value,
       count(*) FILTER (WHERE admitted_at > released.everybody) AS day_count,
       coalesce(sum(value) FILTER (WHERE admitted_at > released.everybody), 0) AS day_value
FROM recent CROSS JOIN released
""")
_TRIP: Final = text("""
INSERT INTO issuance_limit (key, tripped_at, facts) VALUES (:key, now(), CAST(:facts AS jsonb))
ON CONFLICT (key) DO UPDATE SET tripped_at = excluded.tripped_at, facts = excluded.facts
""")
_RELEASE: Final = text("""
UPDATE issuance_limit SET released_at = clock_timestamp(), released_by = :by
WHERE (CAST(:key AS text) IS NULL OR key = :key) AND tripped_at IS NOT NULL
  AND (released_at IS NULL OR tripped_at > released_at)
RETURNING key
""")


@dataclass(frozen=True, slots=True)
class Usage:
    """What was issued since the last release: counts, and sums of the fixed amounts in the store's currency."""

    customer_count: int
    customer_value: Decimal
    hour_count: int
    hour_value: Decimal
    day_count: int
    day_value: Decimal


@dataclass(frozen=True, slots=True)
class LimitReached:
    """`subject` names the fuse without naming a person."""

    reason: Reason
    subject: str


def over(usage: Usage, value: Decimal, limits: IssuanceLimitSettings) -> tuple[bool, Reason] | None:
    """Whether one more coupon of `value` is above a limit: whether it is the customer's alone, and which. Pure."""
    checks = (
        ("customer_count", 24, usage.customer_count + 1, limits.customer_count),
        ("customer_value", 24, usage.customer_value + value, limits.customer_value),
        ("hour_count", 1, usage.hour_count + 1, limits.hour_count),
        ("hour_value", 1, usage.hour_value + value, limits.hour_value),
        ("day_count", 24, usage.day_count + 1, limits.day_count),
        ("day_value", 24, usage.day_value + value, limits.day_value),
    )
    for name, hours, total, limit in checks:
        if limit is not None and total > limit:
            personal = name.startswith("customer_")
            return personal, because(
                LIMIT_REACHED,
                setting=f"COUPONS__FUSE__{name.upper()}",
                total=str(total),
                measure="coupons" if name.endswith("_count") else "in value",
                scope="one customer" if personal else "all customers",
                hours=hours,
                limit=str(limit),
            )
    return None


async def check_limits(
    connection: AsyncConnection, code: str, customer: str | None, value: Decimal, limits: IssuanceLimitSettings
) -> LimitReached | None:
    """None when the coupon may be issued. Holds the fuse's lock until the end of the caller's transaction, in which
    `admitted_at` has to be written: so no two replicas count the same."""
    await connection.execute(_LOCK)
    key = customer or ALL
    for row in await connection.execute(_STATE, {"key": key}):
        if row.blown:
            return LimitReached(stored(LIMIT_REACHED, row.facts) or because(LIMIT_REACHED), subject_of(row.key))
    usage = Usage(**(await connection.execute(_USAGE, {"key": key, "code": code})).mappings().one())
    reached = over(usage, value, limits)
    if reached is None or (reached[0] and customer is None):
        return None
    personal, reason = reached
    blown = key if personal else ALL
    await connection.execute(_TRIP, {"key": blown, "facts": columns(reason)["facts"]})
    return LimitReached(reason, subject_of(blown))


async def release(connection: AsyncConnection, by: str, why: str, customer: str | None = None) -> int:
    """Release one customer's fuse, or every one that has blown; how many. What waits has to be woken (WAITS_FOR)."""
    await connection.execute(_LOCK)
    keys = (await connection.execute(_RELEASE, {"key": customer, "by": by})).scalars().all()
    if keys:
        for key in keys:
            await resolve_alert(connection, LIMIT_REACHED, subject_of(key))
        subjects = [_audited(key) for key in sorted(keys)]
        await audit(connection, by, "issuance_limit.release", ", ".join(subjects), {"why": why})
    return len(keys)


def subject_of(key: str) -> str:
    """The fuse's name in alerts: an e-mail address is never shown."""
    if key == ALL:
        return "all coupons"
    return f"guest {hashlib.sha256(key.encode()).hexdigest()[:8]}" if "@" in key else f"customer {key}"


def _audited(key: str) -> str:
    """For the audit, which is never rewritten: no person's id, should the person be erased."""
    return "all coupons" if key == ALL else f"customer {hashlib.sha256(key.encode()).hexdigest()[:8]}"
