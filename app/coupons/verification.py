"""Is a redemption verified well enough for its value? The Platform is asked several times before it is refused."""

from collections.abc import Mapping
from typing import Final

from platform_relay.core.http import Failure
from platform_relay.core.outcomes import Blocked, Reject, Wait
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons.valuation import Value
from platform_relay.coupons.verification_rules import (
    Doubt,
    Proof,
    doubt_of_cost,
    doubt_of_customer,
    doubt_of_listing,
    doubt_of_value,
    needed,
    unconfirmed,
)
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.rewards import Redemption, rule_key
from platform_relay.platform.rules import PlatformRule
from platform_relay.queue.jobs import Job
from platform_relay.settings import CouponSettings

FIRST_RECHECK: Final = 1.0
LONGEST_RECHECK: Final = 60.0
"""Seconds between two questions: as long as the redemption is old, within these bounds."""
ASKING_RECHECK: Final = 30.0
"""The longest, while the Platform cannot be asked at all."""
RULE_RECHECK: Final = 600.0
ELSEWHERE: Final = "elsewhere"
"""The job's `origin` when its webhook did not come from PLATFORM__ALLOWED_NETWORKS (`here` when it did)."""


class Prover:
    """`prove` gives the proof that was reached, or what the redemption waits for, or why it is refused."""

    def __init__(self, platform: PlatformClient, settings: CouponSettings) -> None:
        self._platform = platform
        self._settings = settings

    async def prove(self, job: Job, redemption: Redemption, value: Value | None) -> Proof | Wait | Reject:
        """`value` None: not known yet. A redemption that can be refused is refused all the same."""
        need = Proof(self._settings.require) if value is None else needed(value.valued, self._settings)
        if need in (Proof.DOOR, Proof.SOURCE) or job.params.get("origin") == ELSEWHERE:
            return _by_origin(need, job.params.get("origin"))
        topic = job.params.get("topic", "")
        doubt = None if value is None else self._doubt(redemption, topic, value)
        if doubt is not None and doubt.lasting:
            return Reject(doubt.reason)
        answer = await self._customer(redemption, job.age)
        if answer is None and need is Proof.CONFIRMED:
            answer = await self._listing(redemption, topic, job.age, () if value is None else value.listed)
        if isinstance(answer, Doubt):
            return self._again_or_never(answer, redemption, job.age)
        if answer is None and doubt is not None:
            return Wait(doubt.reason, rule_key(redemption.rule_id), RULE_RECHECK)
        return answer or need

    def _doubt(self, redemption: Redemption, topic: str, value: Value) -> Doubt | None:
        return doubt_of_cost(redemption, *value.rules) or doubt_of_value(
            topic, value.valued, value.by_rules, self._settings
        )

    async def _listing(
        self, redemption: Redemption, topic: str, age: float, rules: tuple[PlatformRule, ...]
    ) -> Doubt | Wait | None:
        if not self._platform.has_launcher:
            purpose = "redemptions of this value have to be confirmed at the Platform"
            reason = because(ReasonCode.SETTING_MISSING, setting="PLATFORM__SHOP_KEY", purpose=purpose)
            return Wait(reason, "settings", RULE_RECHECK)
        rewards = await self._platform.all_rewards(redemption.customer_id or "", redemption.email or "")
        if isinstance(rewards, tuple):
            return doubt_of_listing(redemption, topic, rewards, rules)
        return _unavailable(rewards, age)

    async def _customer(self, redemption: Redemption, age: float) -> Doubt | Wait | None:
        if redemption.customer_id is None:
            if redemption.email is not None:
                return None  # a referred friend, who has no account yet
            return Doubt(because(ReasonCode.NOT_GENUINE, explanation="the webhook names no customer"), lasting=True)
        customer = await self._platform.get_customer(redemption.customer_id)
        if customer is None:
            return unconfirmed("the Platform does not know the customer")
        if isinstance(customer, Mapping):
            return doubt_of_customer(redemption, customer)
        return _unavailable(customer, age)

    def _again_or_never(self, doubt: Doubt, redemption: Redemption, age: float) -> Wait | Reject:
        if doubt.lasting:
            return Reject(doubt.reason)
        patience = self._settings.confirm_within.total_seconds()
        if age >= patience:
            return Reject(because(ReasonCode.NOT_GENUINE, **doubt.reason.facts, seconds=round(patience)))
        recheck = min(max(FIRST_RECHECK, age), LONGEST_RECHECK, patience - age + 0.1)
        return Wait(doubt.reason, f"confirm:{redemption.code}", recheck)


def _by_origin(need: Proof, origin: str | None) -> Proof | Wait | Reject:
    if origin == ELSEWHERE:
        return Reject(because(ReasonCode.SOURCE_NOT_ALLOWED, setting="PLATFORM__ALLOWED_NETWORKS"))
    if need is Proof.SOURCE and origin is None:
        facts = {"setting": "PLATFORM__ALLOWED_NETWORKS", "purpose": "COUPONS__REQUIRE is source"}
        return Wait(because(ReasonCode.SETTING_MISSING, **facts), "settings", RULE_RECHECK)
    return need


def _unavailable(failure: Failure, age: float) -> Wait:
    key = "settings" if isinstance(failure, Blocked) else "launcher"
    recheck = min(max(FIRST_RECHECK, age), ASKING_RECHECK)
    reason = because(ReasonCode.CONFIRMATION_UNAVAILABLE, problem=failure.reason.as_fact())
    return Wait(reason, key, recheck, evidence=failure.evidence)
