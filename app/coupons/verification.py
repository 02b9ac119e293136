"""Verifies redemptions. The Platform is asked several times before a redemption is rejected."""

from collections.abc import Mapping
from typing import Final

from platform_relay.core.http import Failure
from platform_relay.core.outcomes import Blocked, Reject, Wait
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.coupons.reward_rules import rule_key
from platform_relay.coupons.valuation import RULE_RECHECK, Valuation
from platform_relay.coupons.verification_rules import (
    Unverified,
    VerificationLevel,
    check_cost,
    check_customer,
    check_reward_list,
    check_value,
    not_yet_confirmed,
    required_level,
)
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.redemptions import Redemption
from platform_relay.platform.rules import PlatformRule
from platform_relay.platform.webhooks import OTHER_NETWORK
from platform_relay.queue.jobs import Job
from platform_relay.settings import CouponSettings

MIN_RECHECK: Final = 1.0
MAX_RECHECK: Final = 60.0
"""Seconds between two questions to the Platform: the age of the redemption, within these bounds."""
MAX_UNAVAILABLE_RECHECK: Final = 30.0
"""The upper bound while the Platform cannot be asked."""


class Verifier:
    """`verify` returns the level that was reached, or what the redemption waits for, or why it is rejected."""

    def __init__(self, platform: PlatformClient, settings: CouponSettings) -> None:
        self._platform = platform
        self._settings = settings

    async def verify(
        self, job: Job, redemption: Redemption, valuation: Valuation | None
    ) -> VerificationLevel | Wait | Reject:
        """`valuation` None: the value is not known yet. A redemption that is not genuine is rejected nevertheless."""
        level = (
            VerificationLevel(self._settings.require)
            if valuation is None
            else required_level(valuation.value, self._settings)
        )
        network = job.params.get("network")
        if level in (VerificationLevel.SECRET, VerificationLevel.SOURCE) or network == OTHER_NETWORK:
            return _by_network(level, network)
        topic = job.params.get("topic", "")
        unverified = None if valuation is None else self._check_rules(redemption, topic, valuation)
        if unverified is not None and unverified.final:
            return Reject(unverified.reason)
        answer = await self._ask_customer(redemption, job.age)
        if answer is None and level is VerificationLevel.CONFIRMED:
            rules = () if valuation is None else valuation.launcher_rules
            answer = await self._ask_rewards(redemption, topic, job.age, rules)
        if isinstance(answer, Unverified):
            return self._wait_or_reject(answer, redemption, job.age)
        if answer is None and unverified is not None:
            return Wait(unverified.reason, rule_key(redemption.rule_id), RULE_RECHECK)
        return answer or level

    def _check_rules(self, redemption: Redemption, topic: str, valuation: Valuation) -> Unverified | None:
        return check_cost(redemption, valuation.operator_rule, valuation.launcher_rule) or check_value(
            topic, valuation.value, valuation.by_rules, self._settings
        )

    async def _ask_customer(self, redemption: Redemption, age: float) -> Unverified | Wait | None:
        if redemption.customer_id is None:
            if redemption.email is not None:
                return None  # a referred friend, who has no account yet
            return Unverified(because(ReasonCode.NOT_GENUINE, explanation="the webhook names no customer"), final=True)
        customer = await self._platform.get_customer(redemption.customer_id)
        if customer is None:
            return not_yet_confirmed("the Platform does not know the customer")
        if isinstance(customer, Mapping):
            return check_customer(redemption, customer)
        return _unavailable(customer, age)

    async def _ask_rewards(
        self, redemption: Redemption, topic: str, age: float, rules: tuple[PlatformRule, ...]
    ) -> Unverified | Wait | None:
        if not self._platform.has_launcher:
            purpose = "redemptions of this value have to be confirmed at the Platform"
            reason = because(ReasonCode.SETTING_MISSING, setting="PLATFORM__SHOP_KEY", purpose=purpose)
            return Wait(reason, "settings", RULE_RECHECK)
        rewards = await self._platform.all_rewards(redemption.customer_id or "", redemption.email or "")
        if isinstance(rewards, tuple):
            return check_reward_list(redemption, topic, rewards, rules)
        return _unavailable(rewards, age)

    def _wait_or_reject(self, unverified: Unverified, redemption: Redemption, age: float) -> Wait | Reject:
        if unverified.final:
            return Reject(unverified.reason)
        patience = self._settings.confirm_within.total_seconds()
        if age >= patience:
            return Reject(because(ReasonCode.NOT_GENUINE, **unverified.reason.facts, seconds=round(patience)))
        recheck = min(max(MIN_RECHECK, age), MAX_RECHECK, patience - age + 0.1)
        return Wait(unverified.reason, f"confirm:{redemption.code}", recheck)


def _by_network(level: VerificationLevel, network: str | None) -> VerificationLevel | Wait | Reject:
    if network == OTHER_NETWORK:
        return Reject(because(ReasonCode.SOURCE_NOT_ALLOWED, setting="PLATFORM__ALLOWED_NETWORKS"))
    if level is VerificationLevel.SOURCE and network is None:
        facts = {"setting": "PLATFORM__ALLOWED_NETWORKS", "purpose": "COUPONS__REQUIRE is source"}
        return Wait(because(ReasonCode.SETTING_MISSING, **facts), "settings", RULE_RECHECK)
    return level


def _unavailable(failure: Failure, age: float) -> Wait:
    key = "settings" if isinstance(failure, Blocked) else "launcher"
    recheck = min(max(MIN_RECHECK, age), MAX_UNAVAILABLE_RECHECK)
    reason = because(ReasonCode.CONFIRMATION_UNAVAILABLE, problem=failure.reason.as_fact())
    return Wait(reason, key, recheck, evidence=failure.evidence)
