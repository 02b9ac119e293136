"""Retires a coupon for an operator: makes it unusable in the store. Runs in the coupon's own lane, after its issue.

Only coupons that the relay created are changed. A code that was never sent to the store may be another coupon's there: a
forger may name one of the merchant's codes, and a held spelling of a code is the genuine coupon in a store that does not
distinguish upper and lower case.
"""

from platform_relay.core.outcomes import Done, Outcome, Reject, Skip, Wait
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons.records import CouponRecord
from platform_relay.coupons.transitions import Coupons
from platform_relay.queue.jobs import Job
from platform_relay.stores.base import RemovesRemainders, StoreAdapter, StoreCoupon


class RetireCoupon:
    """`store` is None while no store is configured."""

    def __init__(self, store: StoreAdapter | None, coupons: Coupons) -> None:
        self._store = store
        self._coupons = coupons

    async def __call__(self, job: Job) -> Outcome:
        code = job.params.get("code")
        coupon = await self._coupons.find(code) if code else None
        if code is None or coupon is None:
            problem = "it names no coupon of the relay"
            return Reject(because(ReasonCode.JOB_INVALID, problem=problem))
        outcome = await self._retire_in_store(coupon)
        if not isinstance(outcome, Done | Skip):
            return outcome
        reason = because(ReasonCode.COUPON_RETIRED, by=job.params.get("by"), comment=job.params.get("why"))
        if isinstance(outcome, Skip):
            reason = reason.also(remark=outcome.reason.as_fact())
        if await self._coupons.retire(code, reason) is None:
            return Reject(because(ReasonCode.RETIRED_TOO_LATE, code=code))
        return Done({"code": code})

    async def _retire_in_store(self, coupon: CouponRecord) -> Outcome:
        """Skip: the store has no coupon of the relay under this code."""
        code = coupon.code
        if not coupon.admitted:
            return Skip(because(ReasonCode.COUPON_NOT_ISSUED, code=code))
        if self._store is None:
            return Wait(because(ReasonCode.NO_STORE), "settings", 60.0)
        if coupon.store_id is None:
            stored = await self._store.find_coupon(code)
            if isinstance(stored, StoreCoupon) and (
                stored.reference is None or stored.reference != coupon.redemption_id
            ):
                return await self._keep(self._store, code, stored.store_id)
            if stored is not None and not isinstance(stored, StoreCoupon):
                return stored
        return await self._store.retire_coupon(code)

    async def _keep(self, store: StoreAdapter, code: str, store_id: str) -> Outcome:
        """Skip: the coupon with the code is not the relay's. What attempts to create ours have left is deleted."""
        removed = await store.remove_remainder(code) if isinstance(store, RemovesRemainders) else Done()
        if not isinstance(removed, Done):
            return removed
        return Skip(because(ReasonCode.COUPON_NOT_OURS, code=code, store_id=store_id))
