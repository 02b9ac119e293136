"""The patrol: are our coupons in the shop still what we made? Finds and lists; changes nothing in the shop."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final  # Any: JSON columns

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.operations.alerts.raised import raise_alert, resolve_alert
from app.outcomes import Outcome
from app.stores.base import CouponFound, CouponKind, CouponOrder, StoreAdapter, differences

KIND: Final = "coupon_patrol"
TOGETHER: Final = 4
"""Look-ups at a time: a patrol must not take the shop's breath away."""
_CLAIM: Final = text("""
WITH chosen AS (
    SELECT code FROM coupon
    WHERE active_at IS NOT NULL AND state IN ('active', 'used', 'retired', 'given_back')
      AND (patrolled_at IS NULL OR patrolled_at < now() - CAST(:since AS interval))
    ORDER BY patrolled_at NULLS FIRST LIMIT :chunk FOR UPDATE SKIP LOCKED
)
UPDATE coupon SET patrolled_at = now() FROM chosen WHERE coupon.code = chosen.code
RETURNING coupon.code, coupon.state, coupon.ordered, (SELECT count(*) FROM jsonb_object_keys(coupon.orders)) AS orders
""")


@dataclass(frozen=True, slots=True)
class Finding:
    """`kind`: deleted, other_value, expired_early, over_used, edited, used_unseen, still_usable."""

    code: str
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class Tour:
    """`stopped`: why the shop could not be asked any further; None: all that was due was looked at."""

    looked_at: int
    findings: tuple[Finding, ...]
    stopped: str | None = None


def examine(
    code: str,
    state: str,
    ordered: Mapping[str, Any] | None,  # Any: JSON
    orders: int,
    found: CouponFound | None,
) -> list[Finding]:
    """What is wrong with one coupon of the shop. Pure. `orders`: how many orders we know to carry it."""
    if state in ("retired", "given_back"):
        usable = found is not None and found.active
        return [Finding(code, "still_usable", f"it is {state} here and usable in the shop")] if usable else []
    if found is None:
        return [Finding(code, "deleted", "the shop has no such coupon any more")] if state == "active" else []
    told: list[Finding] = []
    if ordered is not None:
        told += _against_order(code, ordered, found)
    limit, used = (ordered or {}).get("usage_limit"), found.used
    if used is not None and isinstance(limit, int) and used > limit:
        told.append(Finding(code, "over_used", f"used {used} times in the shop, {limit} allowed"))
    elif used is not None and used > orders:
        told.append(Finding(code, "used_unseen", f"used {used} times in the shop, {orders} orders of it came here"))
    return told


def _against_order(code: str, ordered: Mapping[str, Any], found: CouponFound) -> list[Finding]:  # Any: JSON
    expires_at = ordered.get("expires_at")
    wanted = CouponOrder(
        code=code,
        kind=CouponKind(ordered["kind"]),
        value=_decimal(ordered["value"]),
        currency=ordered["currency"],
        product_ids=tuple(ordered["product_ids"]),
        variant_ids=tuple(ordered.get("variant_ids", ())),  # coupons made by a release before have none
        minimum_spend=_decimal(ordered["minimum_spend"]),
        usage_limit=ordered["usage_limit"],
        combinable=ordered["combinable"],
        expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
    )
    over = wanted.expires_at is not None and wanted.expires_at <= datetime.now(UTC)
    shopper = frozenset({"email", "customer_id"})  # who it is for is not kept
    seen = replace(found, unreadable=found.unreadable | shopper, active=found.active or over)
    return [Finding(code, _kind_of(words), words) for words in differences(wanted, seen)] + (
        [Finding(code, "edited", "it is open to everybody, and was for one shopper")]
        if ordered.get("restricted") and not found.unreadable & shopper and not (found.email or found.customer_id)
        else []
    )


def _kind_of(words: str) -> str:
    if words.startswith(("value ", "currency ", "kind ")):
        return "other_value"
    return "expired_early" if words.startswith(("expires_at ", "active ")) else "edited"


def _decimal(told: str | None) -> Decimal | None:
    return None if told is None else Decimal(told)


async def tour(
    engine: AsyncEngine,
    store: StoreAdapter,
    *,
    since: timedelta = timedelta(minutes=55),
    most: int = 2000,
    chunk: int = 50,
) -> Tour:
    """Look at up to `most` coupons that nobody has looked at within `since`; new findings raise alerts."""
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
                return Tour(
                    looked_at, tuple(findings), f"the shop could not be asked: {getattr(answer, 'why', answer)}"
                )
            found = examine(row.code, row.state, row.ordered, row.orders or 0, answer)
            looked_at += 1
            findings += found
            await _tell(engine, row.code, found)
    return Tour(looked_at, tuple(findings))


async def forget(engine: AsyncEngine) -> None:
    """The next tour looks at every coupon again."""
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE coupon SET patrolled_at = NULL WHERE patrolled_at IS NOT NULL"))


async def _ask(store: StoreAdapter, codes: Sequence[str]) -> list[CouponFound | Outcome | None]:
    turn = asyncio.Semaphore(TOGETHER)

    async def one(code: str) -> CouponFound | Outcome | None:
        async with turn:
            return await store.find_coupon(code)

    return list(await asyncio.gather(*(one(code) for code in codes)))


async def _tell(engine: AsyncEngine, code: str, findings: Sequence[Finding]) -> None:
    async with engine.begin() as connection:
        if not findings:
            await resolve_alert(connection, KIND, code)
            return
        detail = "; ".join(f"{finding.kind}: {finding.detail}" for finding in findings)
        first = f"look at the coupon {code} in the shop; POST /v1/coupons/{code}/retire makes it unusable"
        await raise_alert(connection, KIND, code, detail, first)
