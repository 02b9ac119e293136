"""A redemption -> one coupon in the shop, under the exact code, counted only after it was read back.

open the row ─▶ find its value ─▶ genuine? ─▶ order it (fuse) ─▶ issue ─▶ read back, compare ─▶ active
      │               │ none         │ no         │ blown                    │ absent: look again soon
      │ another's     ▼              ▼            ▼                          │ different: retire it there
      ▼            held, waits    held, asked  held, waits for               ▼
   Reject          for a rule     again        its release              held, Reject
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from app.engine.jobs import Job
from app.handlers.coupon_orders import OpenCoupon, closed, coupon_order, written
from app.handlers.prove import AsksBack, Prover
from app.handlers.valuing import Value, Valuing
from app.operations.fuse import Blown
from app.outcomes import Done, Outcome, Reject, Retry, Skip, Wait
from app.platform.fields import Fields
from app.platform.launcher import AsksLauncher
from app.platform.proof import Proof
from app.platform.rewards import Redemption, Valued
from app.platform.rules import OperatorRule
from app.platform.webhooks import redemption_of
from app.settings import CouponSettings, FuseSettings
from app.stores.base import CouponFound, CouponOrder, StoreAdapter, differences

STORE_RECHECK: Final = 60.0
FUSE_RECHECK: Final = 600.0
READ_BACK_DELAY: Final = 2.0
READ_BACK_PATIENCE: Final = 60.0
"""Seconds for which a shop may not show a coupon that it said it made; then it is issued again (idempotent by code)."""
APPROVED: Final = "operator"
"""The proof of what a person approved."""


class KeepsCoupons(Protocol):
    """Transitions of the coupon's row; each is idempotent and gives None where the state forbids it."""

    async def open(self, redemption: Redemption, message_id: UUID) -> OpenCoupon: ...
    async def adopt(self, redemption: Redemption, message_id: UUID) -> OpenCoupon | None: ...
    async def price(
        self,
        code: str,
        valued: Valued,
        *,
        proof: str,
        rule_edited: bool,
        ordered: Mapping[str, object],
        limits: FuseSettings | None,
        points: int | None,
    ) -> OpenCoupon | Blown | None: ...
    async def issued(self, code: str, store_id: str) -> OpenCoupon | None: ...
    async def hold(self, code: str, reason: str) -> OpenCoupon | None: ...
    async def activate(self, code: str, store_id: str) -> OpenCoupon | None: ...


class KnowsRules(Protocol):
    async def versions(self, rule_id: str, moment: datetime) -> tuple[OperatorRule | None, OperatorRule | None]: ...


class RaisesAlerts(Protocol):
    async def raise_alert(self, kind: str, subject: str, detail: str, first_action: str) -> bool: ...


class Platform(AsksLauncher, AsksBack, Protocol):
    @property
    def has_launcher(self) -> bool: ...
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
        alerts: RaisesAlerts,
        settings: CouponSettings,
    ) -> None:
        self._store = store
        self._coupons = coupons
        self._fields = platform.fields
        self._valuing = Valuing(rules, platform, settings)
        self._prover = Prover(platform, settings)
        self._alerts = alerts
        self._settings = settings

    async def __call__(self, job: Job) -> Outcome:
        redemption = redemption_of(job.params.get("topic", ""), job.params.get("reward", ""), job.body, self._fields)
        if redemption is None:
            return Reject("the webhook carries no coupon code that could be used; ask the Platform what was redeemed")
        coupon = await self._coupons.open(redemption, job.message_id)
        nothing_owed = closed(coupon, redemption)
        claimed = isinstance(nothing_owed, Reject) and coupon.state == "held" and coupon.kind is None
        if nothing_owed and not claimed:
            return nothing_owed
        found = await self._valuing.value(redemption, coupon)
        value = None if isinstance(found, Wait) else found
        proof = await self._proof(job, redemption, coupon, value, Proof.CONFIRMED if claimed else Proof.DOOR)
        if nothing_owed is not None:
            adopted = await self._coupons.adopt(redemption, job.message_id) if isinstance(proof, str) else None
            if adopted is None:
                return nothing_owed
            coupon = adopted
        if not isinstance(proof, str):
            return await self._held(redemption.code, proof)
        if isinstance(found, Wait):
            return await self._held(redemption.code, found)
        return await self._make(job, redemption, found, proof, coupon)

    async def _proof(
        self, job: Job, redemption: Redemption, coupon: OpenCoupon, value: Value | None, least: Proof
    ) -> str | Wait | Reject:
        ruling = coupon.ruling
        if ruling is not None and ruling.approve and least is Proof.DOOR:
            return APPROVED
        proof = await self._prover.prove(job, redemption, coupon, value, least)
        return proof.value if isinstance(proof, Proof) else proof

    async def _make(self, job: Job, redemption: Redemption, found: Value, proof: str, coupon: OpenCoupon) -> Outcome:
        order = coupon_order(redemption, found.valued, coupon, self._settings, job)
        if isinstance(order, Reject):
            return await self._held(redemption.code, order)
        if self._store is None:
            why = "no shop is configured to make coupons in; set STORE__ADAPTER (docs/adapters.md)"
            return await self._held(redemption.code, Wait(why, "settings", STORE_RECHECK))
        store_id = coupon.store_id
        said_made = coupon.state == "pending" and store_id is not None
        if not said_made or coupon.unchanged_for > READ_BACK_PATIENCE:
            hindered = await self._order(order, found, proof, redemption.points)
            if hindered is not None:
                return hindered
            issued = await self._store.issue_coupon(order)
            if not isinstance(issued, Done):
                return await self._held(order.code, issued) if isinstance(issued, Reject) else issued
            store_id = issued.result.get("store_id", "")
            await self._coupons.issued(order.code, store_id)
        return await self._prove(self._store, order, store_id or "")

    async def _order(self, order: CouponOrder, found: Value, proof: str, points: int | None) -> Outcome | None:
        """Write what the shop is about to be told. None when it may be told."""
        priced = await self._coupons.price(
            order.code,
            found.valued,
            proof=proof,
            rule_edited=found.rule_edited,
            ordered=written(order),
            limits=None if proof == APPROVED else self._settings.fuse,
            points=points,
        )
        if priced is None:
            return Retry("the coupon changed its state meanwhile")
        if not isinstance(priced, Blown):
            return None
        await self._alerts.raise_alert(
            "coupon_fuse",
            priced.subject,
            f"{priced.reason}; coupons are held until it is released",
            "look at GET /v1/coupons?state=held, then POST /v1/coupons/fuse/release",
        )
        return await self._held(order.code, Wait(priced.reason, "coupon-fuse", FUSE_RECHECK))

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
