"""The test coupon: created in the store, read back and removed, to prove that coupons work before the first customer.

It is no coupon of a redemption: it is not in the table `coupon`, so neither the ledger nor the drift check nor the
issuance limits know it. It gives 1 %, works once and for an hour, and only operators see its code.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.audit.record import audit
from platform_relay.core.outcomes import Done, Outcome, Skip, Unknown, reason_of
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.setup.records import OpenTest, begin_test, claim_test, end_test
from platform_relay.stores.base import (
    AMOUNTS,
    THE_STORE,
    CouponKind,
    CouponSpec,
    RemovesRemainders,
    StoreAdapter,
    StoreAdapterClass,
    StoreCoupon,
)

SECONDS: Final = 60.0
"""The time limit of one test. It is below the lease of its record."""
LIFETIME: Final = timedelta(hours=1)
SETTLED: Final = timedelta(minutes=10)
"""A request whose response was lost no longer arrives at the store after this time."""
PREFERRED: Final = (CouponKind.PERCENTAGE, CouponKind.FIXED_AMOUNT, CouponKind.FREE_SHIPPING, CouponKind.GIFT_CARD)
REMOVER: Final = "relay"


class AnotherTestError(Exception):
    """Another test coupon may still be in the store."""


def spec_of_test(code: str, adapter: StoreAdapterClass, currency: str | None, now: datetime) -> CouponSpec | None:
    """The smallest coupon that the store supports; None if it supports none without a product. Pure.

    Options that the store does not have are left out.
    """
    possible = (kind for kind in PREFERRED if kind in adapter.KINDS and (kind not in AMOUNTS or currency))
    kind = next(possible, None)
    if kind is None:
        return None
    can_expire = "expires_at" not in adapter.CANNOT
    return CouponSpec(
        code,
        kind,
        value=Decimal(1) if kind is CouponKind.PERCENTAGE or kind in AMOUNTS else None,
        currency=currency if kind in AMOUNTS else None,
        title="Test of Platform Relay",
        usage_limit=None if "usage_limit" in adapter.CANNOT else 1,
        expires_at=now.replace(microsecond=0) + LIFETIME if can_expire else None,
        first_try=True,
    )


class CouponTests:
    """Makes and removes test coupons in one store. `adapter` is the name in STORE__ADAPTER."""

    def __init__(self, engine: AsyncEngine, store: StoreAdapter, adapter: str) -> None:
        self._engine = engine
        self._store = store
        self._adapter = adapter

    async def run(self, spec: CouponSpec, by: str) -> Reason | None:
        """Create, read back and remove the coupon. Returns why it failed; None if all of it worked.

        Raises AnotherTestError. Where this is interrupted, `remove_left_over` removes the coupon.
        """
        async with self._engine.begin() as connection:
            if not await begin_test(connection, spec.code, self._adapter, by):
                raise AnotherTestError
            await audit(connection, by, "setup.test_coupon", spec.code, {"adapter": self._adapter})
        test = OpenTest(spec.code, by, {}, None, certain=False)
        try:
            async with asyncio.timeout(SECONDS):
                test = await self._create(spec, by)
                removed = await self._remove(spec.code)
        except TimeoutError:
            removed = Unknown(because(ReasonCode.TIMED_OUT, destination=THE_STORE, seconds=int(SECONDS)))
        return await self._end(test, removed)

    async def remove_left_over(self) -> None:
        """Remove the test coupon that an interrupted test has left. A creation may arrive late, so the coupon counts as gone
        only when none can arrive any more."""
        async with self._engine.begin() as connection:
            test = await claim_test(connection, self._adapter, SETTLED)
        if test is None:
            return
        try:
            async with asyncio.timeout(SECONDS):
                removed = await self._remove(test.code)
        except TimeoutError:
            removed = Unknown(because(ReasonCode.TIMED_OUT, destination=THE_STORE, seconds=int(SECONDS)))
        await self._end(test, removed)

    async def _create(self, spec: CouponSpec, by: str) -> OpenTest:
        issued = await self._store.issue_coupon(spec)
        if not isinstance(issued, Done):
            return OpenTest(spec.code, by, {}, reason_of(issued), certain=not isinstance(issued, Unknown))
        stored = await self._store.find_coupon(spec.code)
        if stored is None:
            failure = because(ReasonCode.COUPON_NOT_VISIBLE, destination=THE_STORE, code=spec.code)
            return OpenTest(spec.code, by, {}, failure, certain=False)  # it may become visible later
        if not isinstance(stored, StoreCoupon):
            return OpenTest(spec.code, by, {}, reason_of(stored), certain=True)
        return OpenTest(spec.code, by, shown(stored), None, certain=True)

    async def _remove(self, code: str) -> Outcome:
        """Done only if the store certainly has no usable coupon with this code."""
        retired = await self._store.retire_coupon(code)
        if not isinstance(retired, Done | Skip):
            return retired
        if isinstance(self._store, RemovesRemainders):
            left = await self._store.remove_remainder(code)
            if not isinstance(left, Done | Skip):
                return left
        stored = await self._store.find_coupon(code)
        if stored is None or (isinstance(stored, StoreCoupon) and not stored.active):
            return Done()
        if isinstance(stored, StoreCoupon):
            return Unknown(because(ReasonCode.COUPON_STILL_ACTIVE, destination=THE_STORE, code=code))
        return stored

    async def _end(self, test: OpenTest, removed: Outcome) -> Reason | None:
        gone = isinstance(removed, Done) and test.certain
        failure = test.failure or (None if isinstance(removed, Done) else reason_of(removed))
        test = OpenTest(test.code, test.actor, test.read_back, failure, test.certain)
        async with self._engine.begin() as connection:
            await end_test(connection, self._adapter, test, gone=gone)
            if gone:
                detail = {"reason_code": failure.code.value} if failure else {}
                await audit(connection, REMOVER, "setup.test_coupon_removed", test.code, detail)
        return failure


def shown(coupon: StoreCoupon) -> dict[str, str]:
    """What the store has, for people: the fields that a test coupon has. Pure."""
    fields = {
        "kind": coupon.kind and coupon.kind.value.replace("_", " "),
        "value": None if coupon.value is None else f"{coupon.value:f}",
        "currency": coupon.currency if coupon.kind in AMOUNTS else None,
        "usage limit": None if coupon.usage_limit is None else str(coupon.usage_limit),
        "expires": f"{coupon.expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if coupon.expires_at else None,
        "store id": coupon.store_id,
    }
    return {name: value for name, value in fields.items() if value}
