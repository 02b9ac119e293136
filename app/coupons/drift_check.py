"""The drift check: are our coupons in the store still what we created? Changes nothing in the store."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal  # Any: JSON columns

from pydantic import JsonValue
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import raise_alert, resolve_alert
from platform_relay.core.outcomes import Outcome, reason_of
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.stores.base import (
    CouponFound,
    CouponKind,
    CouponSpec,
    Difference,
    StoreAdapter,
    as_facts,
    differences,
)

TOGETHER: Final = 4
"""Look-ups at a time, so that the drift check does not slow the store down."""
PERSONAL: Final = frozenset({"email", "customer_id"})
"""Fields that are not kept with a coupon: whom it is for."""
Kind = Literal["deleted", "other_value", "expired_early", "over_used", "edited", "used_unseen", "still_usable"]
_KINDS: Final[Mapping[str, Kind]] = {
    "value": "other_value",
    "currency": "other_value",
    "kind": "other_value",
    "expires_at": "expired_early",
    "active": "expired_early",
}
"""The kind of a difference by its field; else: edited."""
_CLAIM: Final = text("""
WITH chosen AS (
    SELECT code FROM coupon
    WHERE active_at IS NOT NULL AND state IN ('active', 'used', 'retired', 'given_back')
      AND (drift_checked_at IS NULL OR drift_checked_at < now() - CAST(:since AS interval))
    ORDER BY drift_checked_at NULLS FIRST LIMIT :chunk FOR UPDATE SKIP LOCKED
)
UPDATE coupon SET drift_checked_at = now() FROM chosen WHERE coupon.code = chosen.code
RETURNING coupon.code, coupon.state, coupon.ordered, (SELECT count(*) FROM jsonb_object_keys(coupon.orders)) AS orders
""")


@dataclass(frozen=True, slots=True)
class Finding:
    """One way in which a coupon is not as it was created."""

    code: str
    kind: Kind
    difference: Difference


@dataclass(frozen=True, slots=True)
class DriftCheckResult:
    """`stopped`: why the store could not be asked any further; None: all that was due was looked at."""

    looked_at: int
    findings: tuple[Finding, ...]
    stopped: Reason | None = None


def examine(
    code: str,
    state: str,
    ordered: Mapping[str, Any] | None,  # Any: JSON
    orders: int,
    found: CouponFound | None,
) -> list[Finding]:
    """How one coupon in the store differs from what was created. Pure. `orders`: how many orders we know to carry it."""
    if state in ("retired", "given_back"):
        usable = found is not None and found.active
        return [Finding(code, "still_usable", Difference("state", "usable", state))] if usable else []
    if found is None:
        return [Finding(code, "deleted", Difference("state", "deleted", state))] if state == "active" else []
    findings = _against_order(code, ordered, found) if ordered is not None else []
    limit, used = (ordered or {}).get("usage_limit"), found.used
    if used is not None and isinstance(limit, int) and used > limit:
        findings.append(Finding(code, "over_used", Difference("number of uses", str(used), f"at most {limit}")))
    elif used is not None and used > orders:
        findings.append(Finding(code, "used_unseen", Difference("number of uses", str(used), str(orders))))
    return findings


def _against_order(code: str, ordered: Mapping[str, Any], found: CouponFound) -> list[Finding]:  # Any: JSON
    expires_at = ordered.get("expires_at")
    wanted = CouponSpec(
        code=code,
        kind=CouponKind(ordered["kind"]),
        value=_decimal(ordered["value"]),
        currency=ordered["currency"],
        product_ids=tuple(ordered["product_ids"]),
        variant_ids=tuple(ordered.get("variant_ids", ())),  # coupons of an earlier release have none
        minimum_spend=_decimal(ordered["minimum_spend"]),
        usage_limit=ordered["usage_limit"],
        combinable=ordered["combinable"],
        expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
    )
    expired = wanted.expires_at is not None and wanted.expires_at <= datetime.now(UTC)
    comparable = replace(found, unreadable=found.unreadable | PERSONAL, active=found.active or expired)
    different = differences(wanted, comparable)
    findings = [Finding(code, _KINDS.get(each.field, "edited"), each) for each in different]
    if ordered.get("restricted") and not found.unreadable & PERSONAL and not (found.email or found.customer_id):
        findings.append(Finding(code, "edited", Difference("restriction to the customer", None, "set")))
    return findings


def _decimal(number: str | None) -> Decimal | None:
    return None if number is None else Decimal(number)


async def tour(
    engine: AsyncEngine,
    store: StoreAdapter,
    *,
    since: timedelta = timedelta(minutes=55),
    most: int = 2000,
    chunk: int = 50,
) -> DriftCheckResult:
    """Check up to `most` coupons that were not checked within `since`; new findings raise alerts."""
    looked_at = 0
    findings: list[Finding] = []
    while looked_at < most:
        async with engine.begin() as connection:
            rows = (await connection.execute(_CLAIM, {"since": since, "chunk": min(chunk, most - looked_at)})).all()
        if not rows:
            break
        answers = await _ask(store, [row.code for row in rows])
        for row, answer in zip(rows, answers, strict=True):
            if answer is not None and not isinstance(answer, CouponFound):
                return DriftCheckResult(looked_at, tuple(findings), reason_of(answer))
            of_coupon = examine(row.code, row.state, row.ordered, row.orders or 0, answer)
            looked_at += 1
            findings += of_coupon
            await _alert(engine, row.code, of_coupon)
    return DriftCheckResult(looked_at, tuple(findings))


async def forget(engine: AsyncEngine) -> None:
    """The next tour looks at every coupon again."""
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE coupon SET drift_checked_at = NULL WHERE drift_checked_at IS NOT NULL"))


async def _ask(store: StoreAdapter, codes: Sequence[str]) -> list[CouponFound | Outcome | None]:
    turn = asyncio.Semaphore(TOGETHER)

    async def one(code: str) -> CouponFound | Outcome | None:
        async with turn:
            return await store.find_coupon(code)

    return list(await asyncio.gather(*(one(code) for code in codes)))


async def _alert(engine: AsyncEngine, code: str, findings: Sequence[Finding]) -> None:
    async with engine.begin() as connection:
        if not findings:
            await resolve_alert(connection, ReasonCode.COUPON_DRIFT, code)
            return
        kinds: list[JsonValue] = list(dict.fromkeys(finding.kind for finding in findings))
        different = as_facts([finding.difference for finding in findings])
        await raise_alert(
            connection, because(ReasonCode.COUPON_DRIFT, code=code, kinds=kinds, differences=different), code
        )
