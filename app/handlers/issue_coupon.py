"""A redemption -> one coupon in the shop, under the exact code, counted only after it was read back.

open the row ─▶ find its value ─▶ genuine? ─▶ order it (fuse) ─▶ issue ─▶ read back, compare ─▶ active
      │               │ none         │ no         │ blown                    │ absent: look again soon
      │ another's     ▼              ▼            ▼                          │ different: retire it there
      ▼            held, waits    held, asked  held, waits for               ▼
   Reject          for a rule     again        its release              held, Reject

Several messages may claim one code, each in its own lane. The step "order it" gives the code to one of them for good,
in one statement: so the shop is never told of two coupons for a code, nor by two at a time.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from app.engine.jobs import Job
from app.handlers.coupon_orders import OpenCoupon, closed, coupon_order, written
from app.handlers.prove import AsksBack, Prover
from app.handlers.valuing import Value, Valuing
from app.operations.coupons.fuse import KIND as FUSE_BLEW
from app.operations.coupons.fuse import WAITS_FOR, Blown
from app.operations.coupons.spelling import Twin
from app.operations.coupons.transitions import Claim
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
    async def price(
        self,
        claim: Claim,
        valued: Valued,
        *,
        proof: str,
        rule_edited: bool,
        ordered: Mapping[str, object],
        limits: FuseSettings | None,
    ) -> OpenCoupon | Blown | Twin | None: ...
    async def issued(self, code: str, store_id: str) -> OpenCoupon | None: ...
    async def hold(self, code: str, reason: str) -> OpenCoupon | None: ...
    async def hold_claim(
        self, claim: Claim, reason: str, *, refused: bool, valued: Valued | None
    ) -> OpenCoupon | None: ...
    async def activate(self, code: str, store_id: str) -> OpenCoupon | None: ...


class KnowsRules(Protocol):
    async def versions(self, rule_id: str, moment: datetime) -> tuple[OperatorRule | None, OperatorRule | None]: ...


class RaisesAlerts(Protocol):
    async def raise_alert(
        self, kind: str, subject: str, detail: str, first_action: str, *, again: bool = True
    ) -> bool: ...


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
        claim = Claim(redemption, job.message_id)
        coupon = await self._coupons.open(redemption, job.message_id)
        nothing_owed = closed(coupon, redemption, job.message_id)
        if nothing_owed is not None:
            return nothing_owed
        found = await self._valuing.value(redemption, coupon)
        proof = await self._proof(job, redemption, coupon, None if isinstance(found, Wait) else found)
        if not isinstance(proof, str):
            return await self._held(claim, proof)
        if isinstance(found, Wait):
            return await self._held(claim, found)
        return await self._make(job, claim, found, proof, coupon)

    async def _proof(
        self, job: Job, redemption: Redemption, coupon: OpenCoupon, value: Value | None
    ) -> str | Wait | Reject:
        if coupon.ruling is not None and coupon.ruling.approve:
            return APPROVED
        proof = await self._prover.prove(job, redemption, value)
        return proof.value if isinstance(proof, Proof) else proof

    async def _make(self, job: Job, claim: Claim, found: Value, proof: str, coupon: OpenCoupon) -> Outcome:
        order = coupon_order(claim.redemption, found.valued, coupon, self._settings, job)
        if isinstance(order, Reject):
            return await self._held(claim, order)
        if self._store is None:
            why = "no shop is configured to make coupons in; set STORE__ADAPTER (docs/adapters.md)"
            return await self._held(claim, Wait(why, "settings", STORE_RECHECK))
        store_id = coupon.store_id
        said_made = coupon.state == "pending" and store_id is not None
        if not said_made or coupon.unchanged_for > READ_BACK_PATIENCE:
            hindered = await self._order(claim, order, found, proof)
            if hindered is not None:
                return hindered
            issued = await self._store.issue_coupon(order)
            if isinstance(issued, Reject):
                return await self._refused(self._store, claim, order, issued)
            if not isinstance(issued, Done):
                return issued
            store_id = issued.result.get("store_id", "")
            await self._coupons.issued(order.code, store_id)
        return await self._prove(self._store, claim, order, store_id or "")

    async def _order(self, claim: Claim, order: CouponOrder, found: Value, proof: str) -> Outcome | None:
        """Write what the shop is about to be told. None when it may be told."""
        priced = await self._coupons.price(
            claim,
            found.valued,
            proof=proof,
            rule_edited=found.rule_edited,
            ordered=written(order),
            limits=None if proof == APPROVED else self._settings.fuse,
        )
        if priced is None:
            return Retry("the coupon changed its state meanwhile")
        if isinstance(priced, Twin):
            return await self._held(claim, Reject(priced.why))
        if not isinstance(priced, Blown):
            return None
        await self._alerts.raise_alert(
            FUSE_BLEW,
            priced.subject,
            f"{priced.reason}; coupons are held until it is released",
            "look at GET /v1/coupons?state=held, then POST /v1/coupons/fuse/release",
        )
        return await self._held(claim, Wait(priced.reason, WAITS_FOR, FUSE_RECHECK), found.valued)

    async def _refused(self, store: StoreAdapter, claim: Claim, order: CouponOrder, said: Reject) -> Outcome:
        """A coupon in the way that is ours by its reference was made otherwise by a try whose answer was lost."""
        found = await store.find_coupon(order.code)
        if not isinstance(found, CouponFound) or found.reference is None or found.reference != order.reference:
            return await self._held(claim, said)
        told = differences(order, found)
        return await self._made_otherwise(store, claim, order.code, told) if told else await self._held(claim, said)

    async def _prove(self, store: StoreAdapter, claim: Claim, order: CouponOrder, store_id: str) -> Outcome:
        found = await store.find_coupon(order.code)
        if found is None:
            return Retry("the shop said that it made the coupon and does not show it yet", READ_BACK_DELAY)
        if not isinstance(found, CouponFound):
            return found
        told = differences(order, found)
        if not told:
            await self._coupons.activate(order.code, found.store_id or store_id)
            return Done({"code": order.code, "store_id": found.store_id or store_id})
        return await self._made_otherwise(store, claim, order.code, told)

    async def _made_otherwise(self, store: StoreAdapter, claim: Claim, code: str, told: tuple[str, ...]) -> Outcome:
        wrong = f"the shop's coupon is not what was ordered: {'; '.join(told)}"
        await self._coupons.hold(code, wrong)
        retired = await store.retire_coupon(code)
        if isinstance(retired, Done | Skip):
            return await self._held(claim, Reject(f"{wrong}. It was made unusable in the shop."))
        why = getattr(retired, "why", "")
        return await self._held(claim, Reject(f"{wrong}. Remove it in the shop by hand; doing so failed: {why}"))

    async def _held(self, claim: Claim, outcome: Reject | Wait, valued: Valued | None = None) -> Outcome:
        await self._coupons.hold_claim(claim, outcome.why, refused=isinstance(outcome, Reject), valued=valued)
        return outcome
