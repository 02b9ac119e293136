"""An operator retires a coupon -> it is made unusable in the shop. Runs in the coupon's own lane, after its issue.

Only what we made is touched. A code that the shop was never told of may be anybody's there: a forger may name the
merchant's own, and a held spelling of a code is the genuine coupon to a shop that does not tell them apart.
"""

from typing import Protocol

from app.engine.jobs import Job
from app.outcomes import Done, Outcome, Reject, Skip, Wait
from app.stores.base import CouponFound, StoreAdapter


class MaybeMade(Protocol):
    """`priced`: the shop may have been told of it. `store_id`: the shop said that it made it."""

    @property
    def priced(self) -> bool: ...
    @property
    def store_id(self) -> str | None: ...
    @property
    def redemption_id(self) -> str | None: ...


class RetiresCoupons(Protocol):
    async def find(self, code: str) -> MaybeMade | None: ...
    async def retire(self, code: str, reason: str) -> object | None:
        """Mark our coupon as retired; idempotent. None when its state forbids it."""


class RetireCoupon:
    """`store` is None while no shop is configured."""

    def __init__(self, store: StoreAdapter | None, coupons: RetiresCoupons) -> None:
        self._store = store
        self._coupons = coupons

    async def __call__(self, job: Job) -> Outcome:
        code, why = job.params.get("code"), job.params.get("why", "")
        coupon = await self._coupons.find(code) if code else None
        if code is None or coupon is None:
            return Reject("the job names no code of ours")
        outcome = await self._remove(code, coupon)
        if not isinstance(outcome, Done | Skip):
            return outcome
        left = f"; {outcome.why}" if isinstance(outcome, Skip) else ""
        if await self._coupons.retire(code, f"retired by {why}{left}") is None:
            return Reject("the coupon is unusable in the shop now; it was used before that")
        return Done({"code": code})

    async def _remove(self, code: str, coupon: MaybeMade) -> Outcome:
        """Skip: there is nothing of ours to remove."""
        if not coupon.priced:
            return Skip("the shop was never told of it")
        if self._store is None:
            return Wait("no shop is configured; set STORE__ADAPTER (docs/adapters.md)", "settings", 60.0)
        if coupon.store_id is None:
            found = await self._store.find_coupon(code)
            if isinstance(found, CouponFound) and (found.reference is None or found.reference != coupon.redemption_id):
                return Skip(f"the shop's coupon {found.store_id} of this code is not known as ours, and was left alone")
            if found is not None and not isinstance(found, CouponFound):
                return found
        return await self._store.retire_coupon(code)
