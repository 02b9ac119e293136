"""A redemption -> one coupon in the store, under the exact code, counted only after it was read back.

open the row ─▶ find its value ─▶ genuine? ─▶ order it (limits) ▶ issue ─▶ read back, compare ─▶ active
      │               │ none         │ no         │ limit reached            │ absent: look again soon
      │ another's     ▼              ▼            ▼                          │ different: retire it there
      ▼            held, waits    held, asked  held, waits for               ▼
   Reject          for a rule     again        its release              held, Reject

Several messages may claim one code, each in its own lane. The step "order it" gives the code to one of them for good,
in one statement: so the store never gets two orders for a code, nor one from two jobs at a time.
"""

from typing import Final

from platform_relay.alerts.alerts import Alerts
from platform_relay.core.outcomes import Done, Outcome, Reject, Retry, Skip, Wait
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.coupons.issuance_limits import WAITS_FOR
from platform_relay.coupons.reward_rules import RewardRules
from platform_relay.coupons.spec import closed, coupon_spec, written
from platform_relay.coupons.transitions import Claim, CouponRecord, Coupons
from platform_relay.coupons.valuation import Value, Valuing
from platform_relay.coupons.verification import Prover
from platform_relay.coupons.verification_rules import Proof
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.rewards import Redemption, Valued
from platform_relay.platform.webhooks import redemption_of
from platform_relay.queue.jobs import Job
from platform_relay.settings import CouponSettings
from platform_relay.stores.base import (
    THE_STORE,
    CouponFound,
    CouponSpec,
    Difference,
    StoreAdapter,
    as_facts,
    differences,
)

STORE_RECHECK: Final = 60.0
LIMIT_RECHECK: Final = 600.0
READ_BACK_DELAY: Final = 2.0
READ_BACK_PATIENCE: Final = 60.0
"""Seconds for which a store may not show a coupon that it reported as created; then it is issued again (idempotent by
code)."""
APPROVED: Final = "operator"
"""The proof of what a person approved."""


class IssueCoupon:
    """`store` is None while no store is configured: redemptions wait for the setting."""

    def __init__(
        self,
        *,
        store: StoreAdapter | None,
        coupons: Coupons,
        rules: RewardRules,
        platform: PlatformClient,
        alerts: Alerts,
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
            return Reject(because(ReasonCode.NO_COUPON_CODE))
        claim = Claim(redemption, job.message_id)
        coupon = await self._coupons.open(redemption, job.message_id)
        ended = closed(coupon, redemption, job.message_id)
        if ended is not None:
            return ended
        value = await self._valuing.value(redemption, coupon)
        proof = await self._proof(job, redemption, coupon, None if isinstance(value, Wait) else value)
        if not isinstance(proof, str):
            return await self._held(claim, proof)
        if isinstance(value, Wait):
            return await self._held(claim, value)
        return await self._make(job, claim, value, proof, coupon)

    async def _proof(
        self, job: Job, redemption: Redemption, coupon: CouponRecord, value: Value | None
    ) -> str | Wait | Reject:
        if coupon.decision is not None and coupon.decision.approve:
            return APPROVED
        proof = await self._prover.prove(job, redemption, value)
        return proof.value if isinstance(proof, Proof) else proof

    async def _make(self, job: Job, claim: Claim, value: Value, proof: str, coupon: CouponRecord) -> Outcome:
        order = coupon_spec(claim.redemption, value.valued, coupon, self._settings, job)
        if isinstance(order, Reject):
            return await self._held(claim, order)
        if self._store is None:
            return await self._held(claim, Wait(because(ReasonCode.NO_STORE), "settings", STORE_RECHECK))
        store_id = coupon.store_id
        created = coupon.state == "pending" and store_id is not None
        if not created or coupon.unchanged_for > READ_BACK_PATIENCE:
            hindered = await self._order(claim, order, value, proof)
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

    async def _order(self, claim: Claim, order: CouponSpec, value: Value, proof: str) -> Outcome | None:
        """Write down what the store is about to be sent. None when it may be sent."""
        priced = await self._coupons.price(
            claim,
            value.valued,
            proof=proof,
            rule_edited=value.rule_edited,
            ordered=written(order),
            limits=None if proof == APPROVED else self._settings.fuse,
        )
        if priced is None:
            return Retry(because(ReasonCode.COUPON_STATE_CHANGED))
        if isinstance(priced, Reason):
            return await self._held(claim, Reject(priced))
        if isinstance(priced, CouponRecord):
            return None
        await self._alerts.raise_alert(priced.reason, priced.subject)
        return await self._held(claim, Wait(priced.reason, WAITS_FOR, LIMIT_RECHECK), value.valued)

    async def _refused(self, store: StoreAdapter, claim: Claim, order: CouponSpec, refused: Reject) -> Outcome:
        """A coupon with this code that is ours by its reference was created otherwise by an attempt whose response was
        lost."""
        coupon = await store.find_coupon(order.code)
        if not isinstance(coupon, CouponFound) or coupon.reference is None or coupon.reference != order.reference:
            return await self._held(claim, refused)
        different = differences(order, coupon)
        if not different:
            return await self._held(claim, refused)
        return await self._made_otherwise(store, claim, order.code, different)

    async def _prove(self, store: StoreAdapter, claim: Claim, order: CouponSpec, store_id: str) -> Outcome:
        coupon = await store.find_coupon(order.code)
        if coupon is None:
            reason = because(ReasonCode.COUPON_NOT_VISIBLE, destination=THE_STORE, code=order.code)
            return Retry(reason, READ_BACK_DELAY)
        if not isinstance(coupon, CouponFound):
            return coupon
        different = differences(order, coupon)
        if not different:
            await self._coupons.activate(order.code, coupon.store_id or store_id)
            return Done({"code": order.code, "store_id": coupon.store_id or store_id})
        return await self._made_otherwise(store, claim, order.code, different)

    async def _made_otherwise(
        self, store: StoreAdapter, claim: Claim, code: str, different: tuple[Difference, ...]
    ) -> Outcome:
        reason = because(ReasonCode.COUPON_DIFFERS, code=code, differences=as_facts(different))
        await self._coupons.hold(code, reason)
        retired = await store.retire_coupon(code)
        if isinstance(retired, Done | Skip):
            return await self._held(
                claim, Reject(reason.also(cleanup="It was made unusable in the store", removed=True))
            )
        failure = retired.reason.as_fact()
        cleanup = "Remove it in the store by hand"
        return await self._held(claim, Reject(reason.also(cleanup=cleanup, removed=False, failure=failure)))

    async def _held(self, claim: Claim, outcome: Reject | Wait, valued: Valued | None = None) -> Outcome:
        await self._coupons.hold_claim(claim, outcome.reason, refused=isinstance(outcome, Reject), valued=valued)
        return outcome
