"""Issues the coupon of a redemption: creates it in the store under the exact code and reads it back.

open the row ─▶ value it ─▶ verify it ─▶ admit it (limits) ─▶ create ─▶ read back, compare ─▶ active
      │             │ no value    │ not verified     │ limit reached        │ absent: look again soon
      │ another's   ▼             ▼                  ▼                      │ different: retire it in the store
      ▼          held, waits   held, asks        held, waits for            ▼
   Reject        for a rule    again             its release             held, Reject

A redemption without a value is still verified, so that a forged one is shown as forged.

Several messages may claim one code, each in its own lane. The step "admit it" gives the code to one of them permanently,
in one statement. So the store never gets two coupons for one code, nor calls for one code from two jobs at the same time.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import Alerts
from platform_relay.core.outcomes import Done, Outcome, Reject, Retry, Skip, Wait
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.coupons.issuance_limits import WAIT_KEY
from platform_relay.coupons.records import CouponRecord, RedemptionClaim
from platform_relay.coupons.reward_rules import RewardRules
from platform_relay.coupons.spec import already_decided, coupon_spec, email_changed, stored_spec
from platform_relay.coupons.transitions import Coupons
from platform_relay.coupons.valuation import Valuation, Valuer
from platform_relay.coupons.valuation_rules import RewardValue
from platform_relay.coupons.verification import Verifier
from platform_relay.coupons.verification_rules import Verified
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.redemptions import Redemption
from platform_relay.platform.webhooks import redemption_of
from platform_relay.queue.jobs import Job
from platform_relay.setting_groups import CouponSettings
from platform_relay.stores.base import (
    THE_STORE,
    CouponSpec,
    Difference,
    StoreAdapter,
    StoreCoupon,
    difference_facts,
    differences,
)

STORE_RECHECK: Final = 60.0
LIMIT_RECHECK: Final = 600.0
READ_BACK_DELAY: Final = 2.0
READ_BACK_PATIENCE: Final = 60.0
"""Seconds for which a store may not show a coupon that it reported as created. Then the coupon is created again, which is
idempotent by its code."""
APPROVED: Final = "operator"
"""The `verification` of a coupon that an operator approved."""


@dataclass(frozen=True, slots=True)
class _Verification:
    """The level that was reached, or APPROVED, and the customer's current e-mail address where it was read."""

    level: str
    email: str | None


class IssueCoupon:
    """`store` is None while no store is configured; redemptions then wait for the setting."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
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
        self._valuer = Valuer(rules, platform, settings)
        self._verifier = Verifier(engine, platform, settings)
        self._alerts = alerts
        self._settings = settings

    async def __call__(self, job: Job) -> Outcome:
        redemption = redemption_of(job.params.get("topic", ""), job.params.get("reward", ""), job.body, self._fields)
        if redemption is None:
            return Reject(because(ReasonCode.NO_COUPON_CODE))
        claim = RedemptionClaim(redemption, job.message_id)
        coupon = await self._coupons.open(redemption, job.message_id)
        decided = already_decided(coupon, redemption, job.message_id)
        if decided is not None:
            return decided
        valuation = await self._valuer.value(redemption, coupon)
        verification = await self._verify(job, redemption, coupon, None if isinstance(valuation, Wait) else valuation)
        if not isinstance(verification, _Verification):
            unavailable = verification.reason.code is ReasonCode.CONFIRMATION_UNAVAILABLE
            if unavailable and coupon.state == "refused" and coupon.message_id == job.message_id:
                return verification  # it stays refused until the Platform lists it
            return await self._held(claim, verification)
        if isinstance(valuation, Wait):
            return await self._held(claim, valuation)
        return await self._issue(job, claim, valuation, verification, coupon)

    async def _verify(
        self, job: Job, redemption: Redemption, coupon: CouponRecord, valuation: Valuation | None
    ) -> _Verification | Wait | Reject:
        if coupon.decision is not None and coupon.decision.approve:
            restricted = self._settings.restrict_to_customer
            email = await self._verifier.current_email(job, redemption) if restricted else None
            return email if isinstance(email, Wait) else _Verification(APPROVED, email)
        result = await self._verifier.verify(job, redemption, valuation)
        return _Verification(result.level.value, result.email) if isinstance(result, Verified) else result

    async def _issue(
        self,
        job: Job,
        claim: RedemptionClaim,
        valuation: Valuation,
        verification: _Verification,
        coupon: CouponRecord,
    ) -> Outcome:
        spec = coupon_spec(claim.redemption, valuation.value, coupon, self._settings, job, verification.email)
        if isinstance(spec, Reject):
            return await self._held(claim, spec)
        if self._store is None:
            return await self._held(claim, Wait(because(ReasonCode.NO_STORE), "settings", STORE_RECHECK))
        store_id = coupon.store_id
        created = coupon.state == "pending" and store_id is not None
        if not created or coupon.unchanged_for > READ_BACK_PATIENCE:
            not_admitted = await self._admit(claim, spec, valuation, verification, coupon)
            if not_admitted is not None:
                return not_admitted
            outcome = await self._store.issue_coupon(spec)
            if isinstance(outcome, Reject):
                return await self._rejected(self._store, claim, spec, outcome)
            if not isinstance(outcome, Done):
                return outcome
            store_id = outcome.result.get("store_id", "")
            await self._coupons.mark_created(spec.code, store_id)
        return await self._read_back(self._store, claim, spec, store_id or "")

    async def _admit(
        self,
        claim: RedemptionClaim,
        spec: CouponSpec,
        valuation: Valuation,
        verification: _Verification,
        coupon: CouponRecord,
    ) -> Outcome | None:
        """Store what will be sent to the store. None when it may be sent."""
        admitted = await self._coupons.admit(
            claim,
            valuation.value,
            verification=verification.level,
            rule_edited=valuation.rule_edited,
            email_changed=email_changed(claim.redemption, coupon, verification.email),
            issued_spec=stored_spec(spec),
            limits=None if verification.level == APPROVED else self._settings.issuance_limits,
        )
        if admitted is None:
            return Retry(because(ReasonCode.COUPON_STATE_CHANGED), called=False)
        if isinstance(admitted, Reason):
            return await self._held(claim, Reject(admitted))
        if isinstance(admitted, CouponRecord):
            return None
        await self._alerts.raise_alert(admitted.reason, admitted.subject)
        return await self._held(claim, Wait(admitted.reason, WAIT_KEY, LIMIT_RECHECK), valuation.value)

    async def _rejected(
        self, store: StoreAdapter, claim: RedemptionClaim, spec: CouponSpec, rejected: Reject
    ) -> Outcome:
        """The store rejected the coupon. If it has a coupon with this code and this redemption's reference, but with other
        values, an attempt whose response was lost created that."""
        coupon = await store.find_coupon(spec.code)
        if not isinstance(coupon, StoreCoupon) or coupon.reference is None or coupon.reference != spec.reference:
            return await self._held(claim, rejected)
        different = differences(spec, coupon)
        if not different:
            return await self._held(claim, rejected)
        return await self._retire_different(store, claim, spec.code, different)

    async def _read_back(self, store: StoreAdapter, claim: RedemptionClaim, spec: CouponSpec, store_id: str) -> Outcome:
        coupon = await store.find_coupon(spec.code)
        if coupon is None:
            reason = because(ReasonCode.COUPON_NOT_VISIBLE, destination=THE_STORE, code=spec.code)
            return Retry(reason, READ_BACK_DELAY)
        if not isinstance(coupon, StoreCoupon):
            return coupon
        different = differences(spec, coupon)
        if not different:
            await self._coupons.activate(spec.code, coupon.store_id or store_id)
            return Done({"code": spec.code, "store_id": coupon.store_id or store_id})
        return await self._retire_different(store, claim, spec.code, different)

    async def _retire_different(
        self, store: StoreAdapter, claim: RedemptionClaim, code: str, different: tuple[Difference, ...]
    ) -> Outcome:
        reason = because(ReasonCode.COUPON_DIFFERS, code=code, differences=difference_facts(different))
        await self._coupons.hold(code, reason)
        retired = await store.retire_coupon(code)
        if isinstance(retired, Done | Skip):
            reason = reason.also(cleanup="It was made unusable in the store", removed=True)
        else:
            failure = retired.reason.as_fact()
            reason = reason.also(cleanup="Remove it in the store by hand", removed=False, failure=failure)
        return await self._held(claim, Reject(reason))

    async def _held(self, claim: RedemptionClaim, outcome: Reject | Wait, value: RewardValue | None = None) -> Outcome:
        await self._coupons.hold_claim(claim, outcome.reason, rejected=isinstance(outcome, Reject), value=value)
        return outcome
