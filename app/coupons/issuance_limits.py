"""Issuance limits: how many coupons, and of what value, may be issued per customer, per hour and per day.

When a limit is reached, the coupon and all that follow (of this customer, or of everybody) are held until an operator
releases the limit. Counting then starts again at zero.
"""

import hashlib
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from platform_relay.alerts.alerts import resolve_alert
from platform_relay.audit.record import audit
from platform_relay.core.database import advisory_lock
from platform_relay.core.reasons import Reason, ReasonCode, because, columns, stored
from platform_relay.setting_groups import IssuanceLimitSettings

LIMIT_REACHED: Final = ReasonCode.ISSUANCE_LIMIT_REACHED
"""The reason of held coupons, and the code of the alert. A limit that is released and reached again is a new alert."""
ALL: Final = ""
WAIT_KEY: Final = "issuance-limit"
"""The key (`Wait.key`) that held coupons wait for."""

_OPAQUE: Final = re.compile(r"(?=.{0,80}[0-9])[A-Za-z0-9_:/.-]{1,80}")
"""Ids such as `42`, a UUID or `gid://shopify/Customer/42`."""

_LOCK: Final = advisory_lock("'issuance-limit'")
_STATE: Final = text("""
SELECT key, facts, released_at, reached_at IS NOT NULL AND (released_at IS NULL OR reached_at > released_at) AS holds
FROM issuance_limit WHERE key IN ('', :key)
""")
_USAGE: Final = text("""
WITH released AS (
    SELECT coalesce(max(released_at) FILTER (WHERE key = ''), '-infinity') AS everybody,
           coalesce(max(released_at), '-infinity') AS customer
    FROM issuance_limit WHERE key IN ('', :key)
),
recent AS (
    SELECT customer_ref, admitted_at, CASE WHEN kind IN ('fixed_amount', 'gift_card') THEN value ELSE 0 END AS value
    FROM coupon WHERE admitted_at > now() - interval '24 hours' AND code <> :code
)
SELECT count(*) FILTER (WHERE customer_ref = :key AND admitted_at > released.customer) AS customer_count,
       coalesce(sum(value) FILTER (WHERE customer_ref = :key AND admitted_at > released.customer), 0) AS customer_value,
       count(*) FILTER (WHERE admitted_at > now() - interval '1 hour' AND admitted_at > released.everybody) AS hour_count,
       coalesce(sum(value) FILTER (WHERE admitted_at > now() - interval '1 hour' AND admitted_at > released.everybody), 0)
           AS hour_value,
       count(*) FILTER (WHERE admitted_at > released.everybody) AS day_count,
       coalesce(sum(value) FILTER (WHERE admitted_at > released.everybody), 0) AS day_value
FROM recent CROSS JOIN released
""")
_STORE_REACHED: Final = text("""
INSERT INTO issuance_limit (key, reached_at, facts) VALUES (:key, now(), CAST(:facts AS jsonb))
ON CONFLICT (key) DO UPDATE SET reached_at = excluded.reached_at, facts = excluded.facts
""")
_ANY_REACHED: Final = text("""
SELECT EXISTS (SELECT FROM issuance_limit WHERE reached_at IS NOT NULL AND (released_at IS NULL OR reached_at > released_at))
""")
_RELEASE: Final = text("""
UPDATE issuance_limit SET released_at = clock_timestamp(), released_by = :by
WHERE (CAST(:key AS text) IS NULL OR key = :key) AND reached_at IS NOT NULL
  AND (released_at IS NULL OR reached_at > released_at)
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
    """`subject` names the limit for alerts, without a personal name or address."""

    reason: Reason
    subject: str


def exceeded(usage: Usage, value: Decimal, limits: IssuanceLimitSettings) -> tuple[bool, Reason] | None:
    """Whether one more coupon of `value` exceeds a limit: whether only this customer's, and which. Pure."""
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
            one_customer = name.startswith("customer_")
            return one_customer, because(
                LIMIT_REACHED,
                setting=f"COUPONS__ISSUANCE_LIMITS__{name.upper()}",
                total=str(total),
                measure="coupons" if name.endswith("_count") else "in value",
                scope="one customer" if one_customer else "all customers",
                hours=hours,
                limit=str(limit),
            )
    return None


async def check_limits(
    connection: AsyncConnection, code: str, customer: str | None, value: Decimal, limits: IssuanceLimitSettings
) -> LimitReached | None:
    """None when the coupon may be issued. Holds the lock of the limits until the end of the caller's transaction, which must
    write `admitted_at`: so two replicas never count from the same total."""
    await connection.execute(_LOCK)
    key = customer or ALL
    for row in await connection.execute(_STATE, {"key": key}):
        if row.holds:
            return LimitReached(stored(LIMIT_REACHED, row.facts) or because(LIMIT_REACHED), subject_of(row.key))
    usage = Usage(**(await connection.execute(_USAGE, {"key": key, "code": code})).mappings().one())
    result = exceeded(usage, value, limits)
    if result is None or (result[0] and customer is None):
        return None
    one_customer, reason = result
    reached = key if one_customer else ALL
    await connection.execute(_STORE_REACHED, {"key": reached, "facts": columns(reason)["facts"]})
    return LimitReached(reason, subject_of(reached))


async def any_reached(connection: AsyncConnection) -> bool:
    """Whether a limit was reached and not released since."""
    return bool((await connection.execute(_ANY_REACHED)).scalar_one())


async def release(connection: AsyncConnection, by: str, why: str, customer: str | None = None) -> int:
    """Release the limits of one customer, or all that were reached; returns how many. The caller wakes what waits for
    WAIT_KEY."""
    await connection.execute(_LOCK)
    keys = (await connection.execute(_RELEASE, {"key": customer, "by": by})).scalars().all()
    if keys:
        for key in keys:
            await resolve_alert(connection, LIMIT_REACHED, subject_of(key))
        subjects = [_audit_subject(key) for key in sorted(keys)]
        await audit(connection, by, "issuance_limit.release", ", ".join(subjects), {"why": why})
    return len(keys)


def subject_of(key: str) -> str:
    """The limit's name in alerts, which are logged. Of a customer it shows an opaque id only, never a name or an address."""
    if key == ALL:
        return "all coupons"
    return f"customer {key}" if _OPAQUE.fullmatch(key) else f"guest {_digest(key)}"


def _audit_subject(key: str) -> str:
    """The limit's name in the audit. It has no customer id, because the audit is never rewritten, not even by an erasure."""
    return "all coupons" if key == ALL else f"customer {_digest(key)}"


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:8]
