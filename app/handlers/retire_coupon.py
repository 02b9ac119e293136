"""An operator retires a coupon -> it is made unusable in the shop. Runs in the coupon's own lane, after its issue."""

from typing import Protocol

from app.engine.jobs import Job
from app.outcomes import Done, Outcome, Reject, Skip, Wait
from app.stores.base import StoreAdapter


class RetiresCoupons(Protocol):
    async def retire(self, code: str, reason: str) -> object | None:
        """Mark our coupon as retired; idempotent. None when its state forbids it."""


class RetireCoupon:
    """`store` is None while no shop is configured."""

    def __init__(self, store: StoreAdapter | None, coupons: RetiresCoupons) -> None:
        self._store = store
        self._coupons = coupons

    async def __call__(self, job: Job) -> Outcome:
        code, why = job.params.get("code"), job.params.get("why", "")
        if not code:
            return Reject("the job names no code")
        if self._store is None:
            return Wait("no shop is configured; set STORE__ADAPTER (docs/adapters.md)", "settings", 60.0)
        outcome = await self._store.retire_coupon(code)
        if not isinstance(outcome, Done | Skip):
            return outcome
        if await self._coupons.retire(code, f"retired by {why}") is None:
            return Reject("the coupon is unusable in the shop now; it was used before that")
        return Done({"code": code})
