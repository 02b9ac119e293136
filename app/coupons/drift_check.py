"""The drift check: compares the relay's coupons in the store with what was issued. It changes nothing in the store."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal  # Any: JSON columns

from pydantic import JsonValue
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import raise_alert, resolve_alert
from platform_relay.core.outcomes import Outcome, reason_of
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.coupons.spec import read_stored_spec
from platform_relay.stores.base import Difference, StoreAdapter, StoreCoupon, difference_facts, differences

CONCURRENCY: Final = 4
"""Look-ups at a time. Few, so that the drift check does not slow down the store."""
PERSONAL: Final = frozenset({"email", "customer_id"})
"""The customer's fields, which are not stored with a coupon."""
DriftKind = Literal["deleted", "other_value", "expired_early", "over_used", "edited", "used_unseen", "still_usable"]
_KINDS: Final[Mapping[str, DriftKind]] = {
    "value": "other_value",
    "currency": "other_value",
    "kind": "other_value",
    "expires_at": "expired_early",
    "active": "expired_early",
}
"""The kind of a difference by its field; other fields: edited."""
_CLAIM: Final = text("""
WITH chosen AS (
    SELECT code FROM coupon
    WHERE active_at IS NOT NULL AND state IN ('active', 'used', 'retired', 'points_returned')
      AND (drift_checked_at IS NULL OR drift_checked_at < now() - CAST(:since AS interval))
    ORDER BY drift_checked_at NULLS FIRST LIMIT :chunk FOR UPDATE SKIP LOCKED
)
UPDATE coupon SET drift_checked_at = now() FROM chosen WHERE coupon.code = chosen.code
RETURNING coupon.code, coupon.state, coupon.issued_spec, (SELECT count(*) FROM jsonb_object_keys(coupon.orders)) AS orders
""")


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference between a coupon in the store and what was issued."""

    code: str
    kind: DriftKind
    difference: Difference


@dataclass(frozen=True, slots=True)
class DriftCheckResult:
    """`stopped`: why the store could not be asked any further; None: all coupons that were due are checked."""

    checked: int
    findings: tuple[Finding, ...]
    stopped: Reason | None = None


def find_drift(
    code: str,
    state: str,
    issued_spec: Mapping[str, Any] | None,  # Any: JSON
    orders: int,
    stored: StoreCoupon | None,
) -> list[Finding]:
    """How one coupon in the store differs from what was issued. Pure. `orders`: the number of orders known to use it."""
    if state in ("retired", "points_returned"):
        usable = stored is not None and stored.active
        return [Finding(code, "still_usable", Difference("state", "usable", state))] if usable else []
    if stored is None:
        return [Finding(code, "deleted", Difference("state", "deleted", state))] if state == "active" else []
    findings = _compare(code, issued_spec, stored) if issued_spec is not None else []
    limit, used = (issued_spec or {}).get("usage_limit"), stored.used
    if used is not None and isinstance(limit, int) and used > limit:
        findings.append(Finding(code, "over_used", Difference("number of uses", str(used), f"at most {limit}")))
    elif used is not None and used > orders:
        findings.append(Finding(code, "used_unseen", Difference("number of uses", str(used), str(orders))))
    return findings


def _compare(code: str, issued_spec: Mapping[str, Any], stored: StoreCoupon) -> list[Finding]:  # Any: JSON
    spec = read_stored_spec(code, issued_spec)
    expired = spec.expires_at is not None and spec.expires_at <= datetime.now(UTC)
    comparable = replace(stored, unreadable=stored.unreadable | PERSONAL, active=stored.active or expired)
    findings = [
        Finding(code, _KINDS.get(difference.field, "edited"), difference)
        for difference in differences(spec, comparable)
    ]
    if issued_spec.get("restricted") and not stored.unreadable & PERSONAL and not (stored.email or stored.customer_id):
        findings.append(Finding(code, "edited", Difference("restriction to the customer", None, "set")))
    return findings


async def check_drift(
    engine: AsyncEngine,
    store: StoreAdapter,
    *,
    since: timedelta = timedelta(minutes=55),
    limit: int = 2000,
    chunk: int = 50,
) -> DriftCheckResult:
    """Check up to `limit` coupons that were not checked within `since`. New findings raise alerts."""
    checked = 0
    findings: list[Finding] = []
    while checked < limit:
        async with engine.begin() as connection:
            rows = (await connection.execute(_CLAIM, {"since": since, "chunk": min(chunk, limit - checked)})).all()
        if not rows:
            break
        results = await _look_up(store, [row.code for row in rows])
        for row, stored in zip(rows, results, strict=True):
            if stored is not None and not isinstance(stored, StoreCoupon):
                return DriftCheckResult(checked, tuple(findings), reason_of(stored))
            drift = find_drift(row.code, row.state, row.issued_spec, row.orders or 0, stored)
            checked += 1
            findings += drift
            await _alert(engine, row.code, drift)
    return DriftCheckResult(checked, tuple(findings))


async def make_all_due(engine: AsyncEngine) -> None:
    """The next drift check looks at every coupon again."""
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE coupon SET drift_checked_at = NULL WHERE drift_checked_at IS NOT NULL"))


async def _look_up(store: StoreAdapter, codes: Sequence[str]) -> list[StoreCoupon | Outcome | None]:
    semaphore = asyncio.Semaphore(CONCURRENCY)

    async def find(code: str) -> StoreCoupon | Outcome | None:
        async with semaphore:
            return await store.find_coupon(code)

    return list(await asyncio.gather(*(find(code) for code in codes)))


async def _alert(engine: AsyncEngine, code: str, findings: Sequence[Finding]) -> None:
    async with engine.begin() as connection:
        if not findings:
            await resolve_alert(connection, ReasonCode.COUPON_DRIFT, code)
            return
        kinds: list[JsonValue] = list(dict.fromkeys(finding.kind for finding in findings))
        different = difference_facts([finding.difference for finding in findings])
        await raise_alert(
            connection, because(ReasonCode.COUPON_DRIFT, code=code, kinds=kinds, differences=different), code
        )
