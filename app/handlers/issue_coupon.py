"""A redemption -> one coupon in the shop, under the exact code, counted only after it was read back.

open the coupon's row ─▶ find its value ─▶ issue ─▶ read back, compare ─▶ active
        │                     │ none                    │ absent: look again soon
        │ another's code      ▼                         │ different: retire it there
        ▼                 held, waits for a rule        ▼
     Reject                                          held, Reject
"""

from typing import Final, Protocol
from uuid import UUID

from app.engine.jobs import Job
from app.handlers.coupon_orders import OpenCoupon, closed, coupon_order
from app.outcomes import Done, Outcome, Reject, Retry, Skip, Unknown, Wait
from app.platform.fields import Fields
from app.platform.launcher import AsksLauncher, Launcher, ShopFacts
from app.platform.rewards import Redemption, Unvalued, Valued, resolve, rule_key
from app.platform.rules import AMOUNTS, OperatorRule
from app.platform.webhooks import redemption_of
from app.settings import CouponSettings
from app.stores.base import CouponFound, CouponOrder, StoreAdapter, differences

RULE_RECHECK: Final = 600.0
"""Seconds between two looks for a value; an operator's rule wakes the job at once."""
LAUNCHER_RECHECK: Final = 30.0
STORE_RECHECK: Final = 60.0
READ_BACK_DELAY: Final = 2.0
READ_BACK_PATIENCE: Final = 60.0
"""Seconds for which a shop may not show a coupon that it said it made; then it is issued again (idempotent by code)."""


class KeepsCoupons(Protocol):
    """Transitions of the coupon's row; each is idempotent and gives None where the state forbids it."""

    async def open(self, redemption: Redemption, message_id: UUID) -> OpenCoupon: ...
    async def price(self, code: str, valued: Valued) -> OpenCoupon | None: ...
    async def issued(self, code: str, store_id: str) -> OpenCoupon | None: ...
    async def hold(self, code: str, reason: str) -> OpenCoupon | None: ...
    async def activate(self, code: str, store_id: str) -> OpenCoupon | None: ...


class KnowsRules(Protocol):
    async def current(self, rule_id: str) -> OperatorRule | None: ...


class Platform(AsksLauncher, Protocol):
    @property
    def fields(self) -> Fields: ...


class IssueCoupon:
    """`store` is None while no shop is configured: redemptions wait for the setting."""

    def __init__(
        self,
        *,
        store: StoreAdapter | None,
        coupons: KeepsCoupons,
        rules: KnowsRules,
        platform: Platform,
        settings: CouponSettings,
    ) -> None:
        self._store = store
        self._coupons = coupons
        self._rules = rules
        self._fields = platform.fields
        self._launcher = Launcher(platform)
        self._settings = settings

    async def __call__(self, job: Job) -> Outcome:
        redemption = redemption_of(job.params.get("topic", ""), job.params.get("reward", ""), job.body, self._fields)
        if redemption is None:
            return Reject("the webhook carries no coupon code that could be used; ask the Platform what was redeemed")
        coupon = await self._coupons.open(redemption, job.message_id)
        if nothing_owed := closed(coupon, redemption):
            return nothing_owed
        valued = await self._value(redemption)
        if isinstance(valued, Wait):
            return await self._held(redemption.code, valued)
        order = coupon_order(redemption, valued, coupon, self._settings, job)
        if isinstance(order, Reject):
            return await self._held(redemption.code, order)
        if self._store is None:
            why = "no shop is configured to make coupons in; set STORE__ADAPTER (docs/adapters.md)"
            return await self._held(redemption.code, Wait(why, "settings", STORE_RECHECK))
        return await self._make(self._store, order, valued, coupon)

    async def _value(self, redemption: Redemption) -> Valued | Wait:
        rule = await self._rules.current(redemption.rule_id) if redemption.rule_id else None
        facts = await self._launcher.facts()
        told = facts if isinstance(facts, ShopFacts) else ShopFacts()
        found = resolve(
            redemption,
            operator_rule=rule,
            launcher_rules=told.rules,
            settings=self._settings,
            shop_currency=told.currency,
        )
        unsure = isinstance(found, Unvalued) or (found.kind in AMOUNTS and found.currency is None)
        if unsure and not isinstance(facts, ShopFacts):
            recheck = LAUNCHER_RECHECK if isinstance(facts, Retry | Unknown) else RULE_RECHECK
            why = f"the Launcher, which may know the value, could not be asked: {facts.why}"
            return Wait(why, rule_key(redemption.rule_id), recheck, evidence=facts.evidence)
        return Wait(found.why, found.key, RULE_RECHECK) if isinstance(found, Unvalued) else found

    async def _make(self, store: StoreAdapter, order: CouponOrder, valued: Valued, coupon: OpenCoupon) -> Outcome:
        store_id = coupon.store_id
        said_made = coupon.state == "pending" and store_id is not None
        if not said_made or coupon.unchanged_for > READ_BACK_PATIENCE:
            if await self._coupons.price(order.code, valued) is None:
                return Retry("the coupon changed its state meanwhile")
            issued = await store.issue_coupon(order)
            if not isinstance(issued, Done):
                return await self._held(order.code, issued) if isinstance(issued, Reject) else issued
            store_id = issued.result.get("store_id", "")
            await self._coupons.issued(order.code, store_id)
        return await self._prove(store, order, store_id or "")

    async def _prove(self, store: StoreAdapter, order: CouponOrder, store_id: str) -> Outcome:
        found = await store.find_coupon(order.code)
        if found is None:
            return Retry("the shop said that it made the coupon and does not show it yet", READ_BACK_DELAY)
        if not isinstance(found, CouponFound):
            return found
        told = differences(order, found)
        if not told:
            await self._coupons.activate(order.code, found.store_id or store_id)
            return Done({"code": order.code, "store_id": found.store_id or store_id})
        wrong = f"the shop's coupon is not what was ordered: {'; '.join(told)}"
        await self._coupons.hold(order.code, wrong)
        retired = await store.retire_coupon(order.code)
        if isinstance(retired, Done | Skip):
            return await self._held(order.code, Reject(f"{wrong}. It was made unusable in the shop."))
        why = getattr(retired, "why", "")
        return await self._held(order.code, Reject(f"{wrong}. Remove it in the shop by hand; doing so failed: {why}"))

    async def _held(self, code: str, outcome: Reject | Wait) -> Outcome:
        await self._coupons.hold(code, outcome.why)
        return outcome
